"""The user's own images, from NumPy's .npz files.

    x       (N, S, S)     uint8, or floating point in [0, 1]; required
    count   (N,)          integers from 0: number of objects in each image; optional
    boxes   (N, M, 4)     x0, y0, x1, y1 in pixels, nan where there is no object; optional
    labels  (N, M)        integers: class of each object, -1 where there is none; optional
    masks   (N, S, S)     0…255: the object that each pixel belongs to, 0 for none; optional

The truth is only used to evaluate; training needs `x` alone.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from air.config import NpzConfig
from air.data.scenes import Data, Scenes
from air.errors import DataError


def load_npz(config: NpzConfig) -> Data:
    """Read the user's images, and hold some out when there is no file of test images.

    Args:
        config: `path`; and `test_path`, or `test_fraction` and `seed` of the share to hold out.

    Returns:
        Training and test images, at least one each; uint8 as in the file, or float32.

    Raises:
        DataError: one line that names the file and the key, what is allowed, and what it got.
    """
    scenes = _read_scenes(config.path, "data.path")
    if config.test_path is None:
        return _hold_out(scenes, config)
    test = _read_scenes(config.test_path, "data.test_path")
    if test.x_size != scenes.x_size:
        raise DataError(
            f"data.test_path: {config.test_path}: x: must have images of {scenes.x_size} x "
            f"{scenes.x_size} pixels as in {config.path}, got {test.x_size} x {test.x_size}"
        )
    return Data(train=scenes, test=test)


def _hold_out(scenes: Scenes, config: NpzConfig) -> Data:
    if len(scenes) < 2:
        raise DataError(
            f"data.path: {config.path}: x: must hold at least 2 images, 1 of them to hold out, "
            f"got {len(scenes)}; or name a data.test_path"
        )
    num_test = min(max(1, round(len(scenes) * config.test_fraction)), len(scenes) - 1)
    order = np.random.default_rng(config.seed).permutation(len(scenes))
    # Sorted, so that images keep the order of the file.
    train, test = (torch.from_numpy(np.sort(p)) for p in (order[num_test:], order[:num_test]))
    return Data(train=scenes.subset(train), test=scenes.subset(test))


def _read_scenes(path: str, field: str) -> Scenes:
    where = f"{field}: {path}"
    arrays = _read_arrays(Path(path).expanduser(), where)
    images = _checked_images(arrays["x"], f"{where}: x")
    count, boxes, labels, masks = (arrays.get(key) for key in ("count", "boxes", "labels", "masks"))
    if count is not None:
        count = _checked_count(count, len(images), f"{where}: count")
    if boxes is not None:
        boxes = _checked_boxes(boxes, len(images), f"{where}: boxes")
    if labels is not None:
        max_objects = "M" if boxes is None else boxes.shape[1]
        labels = _checked_labels(labels, len(images), max_objects, f"{where}: labels")
    if masks is not None:
        masks = _checked_masks(masks, images.shape, f"{where}: masks")
    return Scenes(
        images=torch.from_numpy(images),
        count=None if count is None else torch.from_numpy(count),
        labels=None if labels is None else torch.from_numpy(labels),
        boxes=None if boxes is None else torch.from_numpy(boxes),
        masks=None if masks is None else torch.from_numpy(masks),
    )


def _read_arrays(path: Path, where: str) -> Mapping[str, NDArray[Any]]:
    """Read the keys that are known; others are the user's business."""
    try:
        if path.is_dir():
            raise DataError(f"{where}: must be an .npz file, got a directory")
        if not zipfile.is_zipfile(path) and path.stat():  # stat complains when there is no file
            raise DataError(f"{where}: must be a whole .npz file, got one cut short or no .npz")
        # Opened here, because np.load leaves a damaged file open.
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            if "x" not in file.files:
                raise DataError(f"{where}: must hold the images under the key x, got {file.files}")
            known = ("x", "count", "boxes", "labels", "masks")
            return {key: _read_array(file, key, where) for key in known if key in file.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{where}: must be a readable .npz file, got: {_reason(error)}") from None


def _read_array(file: Mapping[str, NDArray[Any]], key: str, where: str) -> NDArray[Any]:
    try:
        return np.asarray(file[key])
    except Exception as error:  # damage can show as almost any error of zip or numpy
        raise DataError(
            f"{where}: {key}: must be an undamaged array of numbers, got: {_reason(error)}"
        ) from None


def _reason(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _checked_images(x: NDArray[Any], where: str) -> NDArray[Any]:
    if x.ndim != 3 or x.shape[1] != x.shape[2]:
        raise DataError(f"{where}: must be square images of shape (N, S, S), got {x.shape}")
    if x.size == 0:
        raise DataError(f"{where}: must hold at least one image, got {x.shape}")
    if x.dtype == np.uint8:
        return x
    if not np.issubdtype(x.dtype, np.floating):
        raise DataError(f"{where}: must be uint8, or floats in [0, 1], got {x.dtype}")
    if np.isnan(x).any():
        raise DataError(f"{where}: floats must lie in [0, 1], got nan")
    low, high = x.min(), x.max()
    if low < 0 or high > 1:
        raise DataError(
            f"{where}: floats must lie in [0, 1], got from {low:g} to {high:g}; "
            f"bytes from 0 to 255 must be uint8"
        )
    return x.astype(np.float32)


def _checked_count(count: NDArray[Any], num_images: int, where: str) -> NDArray[np.int64]:
    _check_shape(count, (num_images,), where)
    _check_integers(count, where)
    if count.min() < 0:
        raise DataError(f"{where}: must be at least 0, got {count.min()}")
    return count.astype(np.int64)


def _checked_boxes(boxes: NDArray[Any], num_images: int, where: str) -> NDArray[np.float32]:
    _check_shape(boxes, (num_images, "M", 4), where)
    if not np.issubdtype(boxes.dtype, np.floating) and not np.issubdtype(boxes.dtype, np.integer):
        raise DataError(f"{where}: must be numbers, got {boxes.dtype}")
    rows = boxes.astype(np.float32).reshape(-1, 4)
    rows = rows[~np.isnan(rows).all(axis=1)]
    wrong = ~(np.isfinite(rows).all(axis=1) & (rows[:, :2] < rows[:, 2:]).all(axis=1))
    if wrong.any():
        raise DataError(
            f"{where}: each must be x0, y0, x1, y1 with x0 < x1 and y0 < y1, or four nan where "
            f"there is no object, got {rows[wrong][0].tolist()}"
        )
    return boxes.astype(np.float32)


def _checked_labels(
    labels: NDArray[Any], num_images: int, max_objects: int | str, where: str
) -> NDArray[np.int64]:
    _check_shape(labels, (num_images, max_objects), where)
    _check_integers(labels, where)
    if labels.size and labels.min() < -1:
        raise DataError(f"{where}: must be at least 0, or -1 for no object, got {labels.min()}")
    return labels.astype(np.int64)


def _checked_masks(masks: NDArray[Any], shape: tuple[int, ...], where: str) -> NDArray[np.uint8]:
    _check_shape(masks, shape, where)
    _check_integers(masks, where)
    if masks.min() < 0 or masks.max() > 255:
        raise DataError(f"{where}: must be from 0 to 255, got {masks.min()} to {masks.max()}")
    return masks.astype(np.uint8)


def _check_shape(array: NDArray[Any], allowed: tuple[int | str, ...], where: str) -> None:
    """Compare shapes; a letter stands for any size."""
    fits = len(array.shape) == len(allowed) and all(
        isinstance(want, str) or got == want for got, want in zip(array.shape, allowed, strict=True)
    )
    if not fits:
        shape = ", ".join(map(str, allowed)) + ("," if len(allowed) == 1 else "")
        raise DataError(f"{where}: must have the shape ({shape}), got {array.shape}")


def _check_integers(array: NDArray[Any], where: str) -> None:
    if not np.issubdtype(array.dtype, np.integer):
        raise DataError(f"{where}: must be integers, got {array.dtype}")
