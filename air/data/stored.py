"""Scenes that stay on disk: rows of .npy files, read when they are asked for.

Rows are read, not mapped: what is read of a mapped file counts as the process's own memory until
the system takes it back, so a few epochs would hold the whole data set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from air.data.ahead import ReadAhead
from air.data.checks import channels_axis
from air.data.scenes import Batches, BatchIndices, Scenes, evenly_spread
from air.errors import DataError

Array = NDArray[Any]

_NUM_SAMPLED = 1000


@dataclass(frozen=True)
class ArrayFile:
    """An array in a file.

    Attributes:
        path: of the .npy file.
        where: the same with the field of the configuration, for errors.
        offset: of the first row, in bytes.
        shape: of the array; its first dimension counts rows.
        dtype: of the array.
    """

    path: Path
    where: str
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __len__(self) -> int:
        return self.shape[0]

    def rows(self, rows: NDArray[np.int64]) -> Array:
        """Read some rows.

        Args:
            rows: (M,), ascending.

        Raises:
            DataError: the file cannot be read, or is shorter than it was.
        """
        array = np.empty((len(rows), *self.shape[1:]), self.dtype)
        if array.size == 0:
            return array
        flat = array.reshape(len(rows), -1).view(np.uint8)  # (M, bytes of a row)
        try:
            with self.path.open("rb", buffering=0) as file:
                for first, last in _stretches(rows):
                    file.seek(self.offset + int(rows[first]) * flat.shape[1])
                    self._fill(file, flat[first:last].data.cast("B"))
        except OSError as error:
            raise DataError(f"{self.where}: cannot be read: {error.strerror or error}") from None
        return array

    def _fill(self, file: FileIO, buffer: memoryview) -> None:
        while buffer:
            num_bytes = file.readinto(buffer)
            if not num_bytes:
                raise DataError(f"{self.where}: is shorter than it was when the run began")
            buffer = buffer[num_bytes:]


def open_array(path: Path, where: str) -> ArrayFile:
    """Read the header of a .npy file and check its size, without reading the array.

    Args:
        path: of the file.
        where: the same with the field of the configuration, for errors.

    Raises:
        DataError: it is not there, or no whole .npy file of numbers in C order.
    """
    try:
        # Mapped only for a moment, as NumPy then checks all that it knows; no page is touched.
        array = np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # damage can show as almost any error of numpy
        reason = getattr(error, "strerror", None) or (str(error).splitlines() or [repr(error)])[0]
        raise DataError(f"{where}: must be a whole .npy file of numbers, got: {reason}") from None
    size = array.offset + array.nbytes
    if path.stat().st_size != size:
        raise DataError(f"{where}: must have {size} bytes, got {path.stat().st_size}")
    if not array.flags.c_contiguous:
        raise DataError(f"{where}: must be in C order, got Fortran order")
    return ArrayFile(path, where, array.offset, array.shape, array.dtype)


def _stretches(rows: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Yield where neighbours begin and end, so that they are read at once."""
    cuts = np.flatnonzero(np.diff(rows) != 1) + 1
    yield from zip([0, *cuts.tolist()], [*cuts.tolist(), len(rows)], strict=True)


class Rows(Protocol):
    """An array of which some rows can be had, in memory or not."""

    def __len__(self) -> int: ...

    def read(self, indices: Tensor) -> Tensor:
        """Return rows, in the order of the indices (M,) int64."""
        ...


@dataclass(frozen=True, eq=False)
class HeldRows:
    """The rows of a tensor."""

    rows: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, indices: Tensor) -> Tensor:
        """Return rows, in the order of the indices (M,) int64."""
        return self.rows[indices]


class StoredArray:
    """The rows of several files, one file after the other, or some of them.

    Args:
        files: at least one; their rows have the same shape and dtype.
        check: what is read of a file, and its name -> the same, or `DataError`.
        chosen: (N,) int64, which of all rows these are; all by default.
    """

    def __init__(
        self,
        files: tuple[ArrayFile, ...],
        check: Callable[[Array, str], Array],
        chosen: Tensor | None = None,
    ) -> None:
        self.files = files
        self._check = check
        self._ends = np.cumsum([len(file) for file in files])
        self._chosen = chosen  # not all, which would be 8 bytes for each row

    def __len__(self) -> int:
        return int(self._ends[-1]) if self._chosen is None else len(self._chosen)

    def sampled(self) -> Tensor:
        """Read at most 1000 rows, spread over all."""
        return self.read(evenly_spread(len(self), _NUM_SAMPLED))

    def read(self, indices: Tensor) -> Tensor:
        """Read rows, in the order of the indices.

        Args:
            indices: (M,) int64, M at least 1, in 0…N - 1.

        Raises:
            DataError: a file cannot be read, or holds what it must not.
        """
        wanted = (indices if self._chosen is None else self._chosen[indices]).numpy()
        order = wanted.argsort(kind="stable")
        rows = wanted[order]
        if rows[0] < 0 or rows[-1] >= self._ends[-1]:
            raise IndexError(f"rows {rows[0]} to {rows[-1]} of {self._ends[-1]}")
        which = np.searchsorted(self._ends, rows, side="right")
        parts = []
        for number in np.unique(which).tolist():
            file = self.files[number]
            begin = self._ends[number] - len(file)
            parts.append(self._check(file.rows(rows[which == number] - begin), file.where))
        ascending = np.concatenate(parts)
        array = np.empty_like(ascending)
        array[order] = ascending
        return torch.from_numpy(array)


@dataclass(frozen=True, eq=False)
class StoredScenes:
    """Scenes on disk, to train on; what is not known is None.

    Attributes:
        images: rows (x_size, x_size) or (x_size, x_size, 3).
        count: rows ().
        labels: rows (max_objects,).
        boxes: rows (max_objects, 4).
        max_count: the largest number of objects in a scene.
    """

    images: StoredArray
    count: Rows | None
    labels: Rows | None
    boxes: Rows | None
    max_count: int | None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def x_size(self) -> int:
        """Width and height of an image, in pixels."""
        return self.images.files[0].shape[2]

    @property
    def num_channels(self) -> int:
        """1 of grey images, 3 of images in colour."""
        shape = self.images.files[0].shape
        axis = channels_axis(shape)
        return 1 if axis is None else shape[axis]

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(x_size, x_size), or (x_size, x_size, 3) in colour."""
        size = (self.x_size, self.x_size)
        return size if self.num_channels == 1 else (*size, self.num_channels)

    def subset(self, indices: slice | Tensor) -> Scenes:
        """Read some of the scenes, with their truth, into memory.

        Args:
            indices: which ones: a slice, or int64 indices (M,); at least one.
        """
        if isinstance(indices, slice):
            indices = torch.arange(len(self))[indices]
        return Scenes(
            images=self.images.read(indices),
            count=None if self.count is None else self.count.read(indices),
            labels=None if self.labels is None else self.labels.read(indices),
            boxes=None if self.boxes is None else self.boxes.read(indices),
        )

    def batches(self, indices: BatchIndices, device: torch.device) -> Batches:
        """Return a function that gives an iteration's images on the CPU, and reads ahead meanwhile.

        Args:
            indices: iteration -> which images it sees.
            device: where the model is; it takes uint8 from here faster than a thread would.
        """
        return ReadAhead(self.images.read, indices)
