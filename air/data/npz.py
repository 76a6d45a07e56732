"""The user's own images, from NumPy's .npz files.

    x       (N, S, S)     uint8, bool, or floating point in [0, 1]; (N, S, S, 3) in colour; required
    count   (N,)          integers from 0: number of objects in each image; optional
    boxes   (N, M, 4)     x0, y0, x1, y1 in pixels, nan where there is no object; optional
    labels  (N, M)        integers: class of each object, -1 where there is none; optional
    masks   (N, S, S)     0…255: the object that each pixel belongs to, 0 for none; optional

The truth is only used to evaluate; training needs `x` alone. Nothing is ever unpickled, and other
keys are not read: a warning names what is left out.
"""

from __future__ import annotations

import contextlib
import logging
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from air.data.checks import (
    check_bytes,
    checked_boxes,
    checked_count,
    checked_labels,
    checked_masks,
    checked_pixels,
)
from air.data.config import NpzConfig
from air.data.scenes import Data, Scenes, held_out
from air.errors import DataError

KEYS = ("x", "count", "boxes", "labels", "masks")

log = logging.getLogger(__name__)


def load_npz(config: NpzConfig) -> Data:
    """Read the user's images, and hold some out when there is no file of test images.

    Args:
        config: `path`; and `test_path`, or `test_fraction` and `seed` of the share to hold out.

    Returns:
        Training and test images, at least one each; uint8 as in the file, or float32.

    Raises:
        DataError: one line that names the file and the key, what is allowed, and what it got.
    """
    scenes = read_scenes(config.path, "data.path")
    if config.test_path is None:
        where = f"data.path: {config.path}: x"
        train, test = held_out(len(scenes), config.test_fraction, config.seed, where)
        return Data(train=scenes.subset(train), test=scenes.subset(test))
    other = read_scenes(config.test_path, "data.test_path")
    if other.image_shape != scenes.image_shape:
        raise DataError(
            f"data.test_path: {config.test_path}: x: must have images of the shape "
            f"{scenes.image_shape} as in {config.path}, got {other.image_shape}"
        )
    return Data(train=scenes, test=other)


def read_scenes(path: str, field: str) -> Scenes:
    """Read the images of one file, with what it tells of the truth.

    Args:
        path: of the .npz file.
        field: of the configuration that named it, for errors.

    Raises:
        DataError: as `load_npz`.
    """
    where = f"{field}: {path}"
    arrays = _read_arrays(Path(path).expanduser(), where)
    images = checked_pixels(arrays["x"], f"{where}: x")
    check_bytes(images, f"{where}: x")
    count, boxes, labels, masks = (arrays.get(key) for key in ("count", "boxes", "labels", "masks"))
    if count is not None:
        count = checked_count(count, len(images), f"{where}: count")
    if boxes is not None:
        boxes = checked_boxes(boxes, len(images), f"{where}: boxes")
    if labels is not None:
        max_objects = "M" if boxes is None else boxes.shape[1]
        labels = checked_labels(labels, len(images), max_objects, f"{where}: labels")
    if masks is not None:
        masks = checked_masks(masks, images.shape[:3], f"{where}: masks")
    return Scenes(
        images=torch.from_numpy(images),
        count=None if count is None else torch.from_numpy(count),
        labels=None if labels is None else torch.from_numpy(labels),
        boxes=None if boxes is None else torch.from_numpy(boxes),
        masks=None if masks is None else torch.from_numpy(masks),
    )


def _read_arrays(path: Path, where: str) -> dict[str, NDArray[Any]]:
    """Read the known arrays that need no unpickling; one warning names the others."""
    try:
        if path.is_dir():
            raise DataError(f"{where}: must be an .npz file, got a directory")
        if not zipfile.is_zipfile(path) and path.stat():  # stat complains when there is no file
            raise DataError(f"{where}: must be a whole .npz file, got one cut short or no .npz")
        # Opened here, because np.load leaves a damaged file open.
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            if "x" not in file.files:
                raise DataError(f"{where}: must hold the images under the key x, got {file.files}")
            why_not = {key: _why_not(file, key, where) for key in file.files}
            reasons = dict.fromkeys(why for why in why_not.values() if why)
            left_out = [
                f"{', '.join(key for key in why_not if why_not[key] == why)} ({why})"
                for why in reasons
            ]
            if left_out:
                log.warning("%s: left out: %s", where, "; ".join(left_out))
            return {key: _read_array(file, key, where) for key, why in why_not.items() if not why}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{where}: must be a readable .npz file, got: {_reason(error)}") from None


def _why_not(file: Any, key: str, where: str) -> str | None:
    """Say why an array of an `NpzFile` is left out, from its header alone; None if it is read."""
    if key not in KEYS:
        return f"not one of {', '.join(KEYS)}"
    if f"{key}.npy" not in file.zip.namelist():
        return "no NumPy array"
    with _naming(key, where), file.zip.open(f"{key}.npy") as member:
        version = np.lib.format.read_magic(member)
        header = np.lib.format.read_array_header_1_0
        if version != (1, 0):
            header = np.lib.format.read_array_header_2_0
        shape, _, dtype = header(member)
    if key != "x" and dtype.hasobject:
        return "Python objects, which are never unpickled"
    if key == "labels" and len(shape) == 1:  # as other data sets have them
        return "labels of images, not of the objects in each"
    return None


def _read_array(file: Any, key: str, where: str) -> NDArray[Any]:
    with _naming(key, where):
        return np.asarray(file[key])


@contextlib.contextmanager
def _naming(key: str, where: str) -> Iterator[None]:
    """Turn whatever is wrong with an array into one line that names it."""
    try:
        yield
    except Exception as error:  # damage can show as almost any error of zip or numpy
        raise DataError(
            f"{where}: {key}: must be an undamaged array of numbers, got: {_reason(error)}"
        ) from None


def _reason(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
