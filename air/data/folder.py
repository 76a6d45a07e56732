"""The user's own images, from a folder of PNG and JPEG files.

Every file is decoded once and made a square, and the squares are kept as one .npy file under a hash
of the files' names, sizes and times. `counts.csv` in the folder, with the columns `file` and
`count`, tells the truth, which is only used to evaluate; its other columns are not read.
"""

from __future__ import annotations

import csv
import hashlib
import json
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import UnidentifiedImageError
from torch import Tensor
from torchvision.transforms.v2.functional import rgb_to_grayscale
from tqdm import tqdm

from air.data.checks import check_bytes, checked_pixels
from air.data.config import Fit, ImagesConfig
from air.data.image_files import ENDINGS, Placement, placed, read_image
from air.data.scenes import Data, Scenes, TrainingScenes, held_out
from air.data.stored import ArrayFile, HeldRows, StoredArray, StoredScenes, open_array
from air.errors import DataError
from air.model.images import pictures
from air.runs.files import replacing
from air.runs.made_once import made_once

COUNTS_FILE = "counts.csv"
MOST_IN_MEMORY = 2**30  # bytes of decoded images; more of them stay on disk
FOLDER_VERSION = 1  # increase it when the same files would give other images
_NUM_NAMED = 3  # files, in a line about more of them

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class ImageFolder:
    """The files of a folder, and what has been made of them.

    Attributes:
        path: of the folder.
        where: the same with the field of the configuration, for errors.
        names: of the N files, ascending.
        squares: with rows (size, size), or (size, size, 3) in colour; uint8.
        forms: (N, 3) height and width of each file's image, in pixels, and its channels: 1 or 3.
        fit: how the squares were made.
    """

    path: Path
    where: str
    names: list[str]
    squares: ArrayFile
    forms: Tensor
    fit: Fit

    @property
    def in_colour(self) -> bool:
        """Whether the squares are."""
        return len(self.squares.shape) == 4

    def images(self, chosen: Tensor | None = None) -> StoredArray:
        """Return the squares of some files (M,) int64, or of all."""
        return StoredArray((self.squares,), checked_pixels, chosen)

    def placement(self, i: int) -> Placement:
        """Return which part of the i-th file lies where in its square."""
        height, width, _ = self.forms[i].tolist()
        return placed(height, width, self.squares.shape[1], self.fit)

    def warn_made_grey(self) -> None:
        """Say so if there are files in colour that were made grey."""
        names = [self.names[i] for i in (self.forms[:, 2] == 3).nonzero().flatten().tolist()]
        if names and not self.in_colour:
            log.warning("%s: made grey, as in training: %s", self.where, _named(names))


def load_folder(config: ImagesConfig) -> Data:
    """Read the user's image files, and hold some out when there is no folder of test images.

    Args:
        config: which files, and what is made of them.

    Returns:
        Training images, on disk if they are large, and test images in memory.

    Raises:
        DataError: one line that names the file or the row, what is allowed, and what it got.
        WriteError: what was decoded cannot be kept.
    """
    size, fit, root = config.size, config.fit, config.root
    folder = open_folder(config.path, "data.path", size, fit, config.colour, root)
    count = _read_counts(folder)
    if config.test_path is None:
        train, test = held_out(
            len(folder.names), config.test_fraction, config.seed, f"data.path: {config.path}"
        )
        chosen = _scenes(folder, count, test)
        return Data(train=_in_memory_if_small(_scenes(folder, count, train)), test=_read(chosen))
    other = open_folder(config.test_path, "data.test_path", size, fit, folder.in_colour, root)
    if config.colour is None:
        other.warn_made_grey()
    scenes = _in_memory_if_small(_scenes(folder, count))
    return Data(train=scenes, test=_read(_scenes(other, _read_counts(other))))


def open_folder(
    path: str, field: str, size: int, fit: Fit, colour: bool | None, root: str
) -> ImageFolder:
    """Decode the files of a folder, or open what has been made of them before.

    Args:
        path: of the folder.
        field: of the configuration that named it, for errors.
        size: width and height of what is made of every file, in pixels.
        fit: how.
        colour: whether in colour; None for unless every file is grey.
        root: what is decoded is kept in `root`/images.

    Raises:
        DataError: there are no such files, or some cannot be read.
        WriteError: what was decoded cannot be kept.
    """
    folder, where = Path(path).expanduser(), f"{field}: {path}"
    files = _image_files(folder, where)
    names = [name for name, *_ in files]
    content = [FOLDER_VERSION, str(folder.resolve()), size, fit, colour, files]
    key = hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def load(kept: Path) -> tuple[ArrayFile, Tensor]:
        squares, forms = open_array(kept, where), torch.from_numpy(np.load(_forms_file(kept)))
        if squares.shape[:3] != (len(names), size, size) or forms.shape != (len(names), 3):
            raise ValueError(f"it holds {squares.shape} and {tuple(forms.shape)}")
        return squares, forms

    def decode(kept: Path) -> tuple[ArrayFile, Tensor]:
        begin = time.perf_counter()
        try:
            _decode(kept, folder, where, names, size, fit, colour)
        except _InColourError:
            _decode(kept, folder, where, names, size, fit, colour=True)
        seconds = time.perf_counter() - begin
        log.info("decoded %d images in %.1f s, kept in %s", len(names), seconds, kept)
        return load(kept)

    kept = Path(root).expanduser() / "images" / f"{key}.npy"
    squares, forms = made_once(kept, load, decode)
    opened = ImageFolder(folder, where, names, squares, forms, fit)
    check_bytes(opened.images().sampled().numpy(), where)
    return opened


def _image_files(folder: Path, where: str) -> list[tuple[str, int, int]]:
    """Return name, bytes and time of each image file, and warn of what else is there."""
    if not folder.is_dir():
        got = "a file" if folder.exists() else "nothing"
        raise DataError(f"{where}: must be a folder of PNG or JPEG files, got {got} there")
    files, others = [], []
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name == COUNTS_FILE:
            continue
        if path.suffix.lower() in ENDINGS and path.is_file():
            status = path.stat()
            files.append((path.name, status.st_size, status.st_mtime_ns))
        else:
            others.append(path.name)
    if not files:
        got = _named(others) if others else "an empty one"
        raise DataError(f"{where}: must be a folder of PNG or JPEG files, got {got}")
    if others:
        log.warning("%s: left out, as neither PNG nor JPEG files: %s", where, _named(others))
    return files


class _InColourError(Exception):
    """A file is, where all were taken for grey."""


def _decode(
    kept: Path,
    folder: Path,
    where: str,
    names: Sequence[str],
    size: int,
    fit: Fit,
    colour: bool | None,
) -> None:
    """Write the squares of all files, one after the other, and beside them the files' forms."""
    forms = np.empty((len(names), 3), np.int64)
    unreadable: list[str] = []
    shape = (len(names), size, size, 3) if colour else (len(names), size, size)
    with replacing(kept) as opened:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(opened, header)
        for i, name in enumerate(tqdm(names, desc="decoding", unit=" files", disable=None)):
            try:
                image = read_image(folder / name)
            except Exception as error:  # Pillow's decoders raise many kinds
                unreadable.append(f"{name} ({_reason(error)})")
                continue
            _, height, width = image.shape
            square = placed(height, width, size, fit).square(image)
            if (square == square[:1]).all():  # many programs write grey images as colours
                square = square[:1]
            forms[i] = (height, width, len(square))
            if len(square) == 3 and colour is None:
                raise _InColourError
            square = square.expand(3, -1, -1) if colour else _grey(square)
            opened.write(pictures(square).contiguous().numpy().data)
        if unreadable:
            files = f"{len(unreadable)} of its {len(names)} files"
            raise DataError(f"{where}: {files} cannot be read: {_named(unreadable, counted=False)}")
        # The squares get their name last: a file of squares is a complete one.
        with replacing(_forms_file(kept)) as beside:
            np.save(beside, forms)


def _forms_file(kept: Path) -> Path:
    return kept.with_suffix(".forms.npy")


def _grey(square: Tensor) -> Tensor:
    return square if len(square) == 1 else rgb_to_grayscale(square)


def _reason(error: Exception) -> str:
    """Return why a file cannot be read; Pillow's reasons name the file once more."""
    if isinstance(error, UnidentifiedImageError):
        return "no whole PNG or JPEG image"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def _named(names: Sequence[str], counted: bool = True) -> str:
    """Return the first few of many names, and how many there are."""
    text = ", ".join(names[:_NUM_NAMED])
    if len(names) <= _NUM_NAMED:
        return text
    return f"{text} and {len(names) - _NUM_NAMED} more" if counted else f"{text}, …"


def _scenes(
    folder: ImageFolder, count: Tensor | None, chosen: Tensor | None = None
) -> StoredScenes:
    """Return the scenes of some files (M,) int64, or of all, on disk."""
    if count is not None and chosen is not None:
        count = count[chosen]
    return StoredScenes(
        images=folder.images(chosen),
        count=None if count is None else HeldRows(count),
        labels=None,
        boxes=None,
        max_count=None if count is None else int(count.max()),
    )


def _read(scenes: StoredScenes) -> Scenes:
    return scenes.subset(slice(None))


def _in_memory_if_small(scenes: StoredScenes) -> TrainingScenes:
    num_bytes = len(scenes) * math.prod(scenes.image_shape)
    return scenes if num_bytes > MOST_IN_MEMORY else _read(scenes)


def _read_counts(folder: ImageFolder) -> Tensor | None:
    """Return the number of objects in each file, (N,) int64, where the folder tells."""
    where = f"{folder.where}: {COUNTS_FILE}"
    try:
        with (folder.path / COUNTS_FILE).open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            if not {"file", "count"} <= set(reader.fieldnames or ()):
                got = ", ".join(reader.fieldnames or ()) or "none"
                raise DataError(f"{where}: must have the columns file and count, got {got}")
            rows = [(reader.line_num, row["file"], row["count"]) for row in reader]
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{where}: cannot be read: {_reason(error)}") from None
    known = set(folder.names)
    counts: dict[str, int] = {}
    for line, name, text in rows:
        if name not in known:
            raise DataError(f"{where}: line {line}: must name an image of the folder, got {name!r}")
        if name in counts:
            raise DataError(f"{where}: line {line}: must name each file once, got {name} again")
        if text is None or not text.strip().isdecimal():
            raise DataError(
                f"{where}: line {line}: the count of {name} must be a whole number from 0, "
                f"got {text!r}"
            )
        counts[name] = int(text)
    missing = [name for name in folder.names if name not in counts]
    if missing:
        raise DataError(f"{where}: must have a row for each file, but lacks {_named(missing)}")
    return torch.tensor([counts[name] for name in folder.names])
