"""Images that need not fit in memory: a folder of NumPy's .npy files.

    train-*.npy, or train.npy    (n, S, S)     uint8, bool, or floats in [0, 1]; n of each file;
                                               (n, S, S, 3) in colour
    train-*.count.npy            (n,)          integers from 0; this and the next are optional
    train-*.labels.npy           (n, M)        integers: class of each object, -1 for none
    train-*.boxes.npy            (n, M, 4)     x0, y0, x1, y1 in pixels, nan for none
    test.npz                     held-out images, as `air.data.npz` reads them
    scenes.json                  of scripts/make_scenes.py: num_train says how many there must be

Training images stay on disk. Before training, headers, sizes, all counts and the pixels of some
images are checked; every other image is checked when it is read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from air.data.checks import (
    check_bytes,
    check_image_form,
    check_shape,
    checked_boxes,
    checked_count,
    checked_labels,
    checked_pixels,
)
from air.data.config import ShardsConfig
from air.data.npz import read_scenes
from air.data.scenes import Data
from air.data.stored import Array, ArrayFile, StoredArray, StoredScenes, open_array
from air.errors import DataError

MANIFEST = "scenes.json"
TEST_FILE = "test.npz"
_CHUNK = 100_000  # counts at a time


def load_shards(config: ShardsConfig) -> Data:
    """Open a folder of training images, and read the held-out ones.

    Args:
        config: `path` of the folder; and `test_path`, or `test.npz` in the folder.

    Returns:
        Training scenes on disk and test scenes in memory.

    Raises:
        DataError: one line that names the file, what is allowed, and what it got.
    """
    folder = Path(config.path).expanduser()
    where = f"data.path: {config.path}"
    train = _open_train(folder, where)
    if config.test_path is None:
        field, test_path = "data.path", str(folder / TEST_FILE)
    else:
        field, test_path = "data.test_path", config.test_path
    test = read_scenes(test_path, field)
    if test.image_shape != train.image_shape:
        raise DataError(
            f"{field}: {test_path}: x: must have images of the shape {train.image_shape} as in "
            f"{train.images.files[0].path.name}, got {test.image_shape}"
        )
    return Data(train=train, test=test)


def _open_train(folder: Path, where: str) -> StoredScenes:
    paths = _train_paths(folder, where)
    files = tuple(open_array(path, f"data.path: {path}") for path in paths)
    for file in files:
        check_image_form(file.shape, file.dtype, file.where)
        _check_same(file, files[0])
    _check_whole(folder, where, sum(len(file) for file in files))
    images = StoredArray(files, checked_pixels)
    check_bytes(images.sampled().numpy(), where)
    count = _open_truth(files, "count", (), _count)
    boxes = _open_truth(files, "boxes", ("M", 4), _boxes)
    max_objects = boxes.files[0].shape[1] if boxes else "M"
    labels = _open_truth(files, "labels", (max_objects,), _labels)
    return StoredScenes(images, count, labels, boxes, _largest(count) if count else None)


def _train_paths(folder: Path, where: str) -> list[Path]:
    """Return the files of images, in the order of their numbers or names."""
    if not folder.is_dir():
        got = "a file" if folder.exists() else "nothing"
        raise DataError(f"{where}: must be a folder with train-*.npy, got {got} there")
    names = {path.name for path in folder.iterdir()}
    parts = sorted(name for name in names if re.fullmatch(r"train-[^.]+\.npy", name))
    if "train.npy" in names and parts:
        raise DataError(f"{where}: must hold train.npy or train-*.npy, got both")
    if not parts and "train.npy" not in names:
        raise DataError(f"{where}: must hold train-*.npy or train.npy, got neither")
    numbers = {int(part[6:-4]): part for part in parts if part[6:-4].isdecimal()}
    if parts and len(numbers) == len(parts):
        parts = [numbers[number] for number in sorted(numbers)]
        # Numbers from 0 or 1 count files; others may be dates.
        for number in range(min(numbers), max(numbers) if min(numbers) < 2 else 0):
            if number not in numbers:
                raise DataError(
                    f"{where}: must hold every number from {parts[0]} to {parts[-1]}, "
                    f"but {number} is missing"
                )
    return [folder / name for name in parts or ["train.npy"]]


def _open_truth(
    files: tuple[ArrayFile, ...],
    name: str,
    row: tuple[int | str, ...],
    check: Callable[[Array, str], Array],
) -> StoredArray | None:
    """Open what is known beside the images: for all of them, or for none."""
    paths = [file.path.with_suffix(f".{name}.npy") for file in files]
    there = [path for path in paths if path.exists()]
    if not there:
        return None
    for path in paths:
        if path not in there:
            raise DataError(f"data.path: {path}: is missing, though {there[0].name} is there")
    truth = tuple(open_array(path, f"data.path: {path}") for path in paths)
    for file, images in zip(truth, files, strict=True):
        check_shape(file.shape, (len(images), *row), file.where)
        _check_same(file, truth[0])
        check(file.rows(np.zeros(1, np.int64)), file.where)
    return StoredArray(truth, check)


def _check_same(file: ArrayFile, first: ArrayFile) -> None:
    for got, want in ((file.shape[1:], first.shape[1:]), (file.dtype, first.dtype)):
        if got != want:
            raise DataError(f"{file.where}: must hold {want} as {first.path.name} does, got {got}")


def _check_whole(folder: Path, where: str, num_train: int) -> None:
    """Compare the number of images with what the folder was made for, where that is known."""
    manifest = folder / MANIFEST
    if not manifest.exists():
        return
    try:
        expected = int(json.loads(manifest.read_text(encoding="utf-8"))["num_train"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{where}: {MANIFEST}: must tell num_train, got: {error!r}") from None
    if num_train != expected:
        raise DataError(
            f"{where}: must hold {expected} training images, as {MANIFEST} says, got {num_train}; "
            f"the command that made the folder makes what is missing"
        )


def _largest(count: StoredArray) -> int:
    """Return the largest count; all are read, which takes 8 bytes for each image."""
    chunks = torch.arange(len(count)).split(_CHUNK)
    return max(int(count.read(chunk).max()) for chunk in chunks)


def _count(array: Array, where: str) -> Array:
    return checked_count(array, len(array), where)


def _labels(array: Array, where: str) -> Array:
    return checked_labels(array, len(array), "M", where)


def _boxes(array: Array, where: str) -> Array:
    return checked_boxes(array, len(array), where)
