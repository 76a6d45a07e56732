"""What a user's arrays must be; anything else is one line that says where, and what it got."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from air.errors import DataError
from air.model.images import BYTES_OF_0_AND_1
from air.model.sizes import CHANNELS


def channels_axis(shape: tuple[int, ...]) -> int | None:
    """Return which dimension of images counts their channels, 1 or 3; None where none does.

    (N, S, S, 3) is what images are stored as; (N, 3, S, S), and a single channel on either side,
    are as other libraries have them.
    """
    for axis in (3, 1) if len(shape) == 4 else ():
        if shape[axis] in CHANNELS:
            return axis
    return None


def check_image_form(shape: tuple[int, ...], dtype: np.dtype[Any], where: str) -> None:
    """Check the shape and type of images, which a file's header tells."""
    axis = channels_axis(shape)
    sides = shape[1:] if axis is None else np.delete(shape[1:], axis - 1)
    if len(sides) != 2 or sides[0] != sides[1]:
        raise DataError(
            f"{where}: must be square images of shape (N, S, S), or (N, S, S, 3) in colour, "
            f"got {shape}"
        )
    if 0 in shape:
        raise DataError(f"{where}: must hold at least one image, got {shape}")
    if dtype not in (np.uint8, np.bool_) and not np.issubdtype(dtype, np.floating):
        raise DataError(f"{where}: must be uint8, bool, or floats in [0, 1], got {dtype}")


def checked_pixels(x: NDArray[Any], where: str) -> NDArray[Any]:
    """Return images as uint8, or as float32 in [0, 1]; False and True as 0 and 255.

    Args:
        x: of a shape that `check_image_form` takes.
        where: it is, for errors.

    Returns:
        (N, S, S) or, in colour, (N, S, S, 3).
    """
    check_image_form(x.shape, x.dtype, where)
    axis = channels_axis(x.shape)
    if axis is not None:
        x = x.squeeze(axis) if x.shape[axis] == 1 else np.ascontiguousarray(np.moveaxis(x, axis, 3))
    if x.dtype == np.bool_:
        return x.astype(np.uint8) * np.uint8(255)
    if x.dtype == np.uint8:
        return x
    if np.isnan(x).any():
        raise DataError(f"{where}: floats must lie in [0, 1], got nan")
    low, high = x.min(), x.max()
    if low < 0 or high > 1:
        raise DataError(
            f"{where}: floats must lie in [0, 1], got from {low:g} to {high:g}; "
            f"bytes from 0 to 255 must be uint8"
        )
    return x.astype(np.float32)


def check_bytes(x: NDArray[Any], where: str) -> None:
    """Refuse bytes that are 0 and 1; of a whole set, as a few images may be nearly black."""
    if x.dtype == np.uint8 and x.max() == 1:
        raise DataError(f"{where}: {BYTES_OF_0_AND_1}")


def checked_count(count: NDArray[Any], num_images: int, where: str) -> NDArray[np.int64]:
    """Return the number of objects in each image, (num_images,), as int64."""
    check_shape(count.shape, (num_images,), where)
    check_integers(count, where)
    if count.min() < 0:
        raise DataError(f"{where}: must be at least 0, got {count.min()}")
    return count.astype(np.int64)


def checked_boxes(boxes: NDArray[Any], num_images: int, where: str) -> NDArray[np.float32]:
    """Return boxes (num_images, M, 4) as float32."""
    check_shape(boxes.shape, (num_images, "M", 4), where)
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


def checked_labels(
    labels: NDArray[Any], num_images: int, max_objects: int | str, where: str
) -> NDArray[np.int64]:
    """Return labels (num_images, max_objects) as int64."""
    check_shape(labels.shape, (num_images, max_objects), where)
    check_integers(labels, where)
    if labels.size and labels.min() < -1:
        raise DataError(f"{where}: must be at least 0, or -1 for no object, got {labels.min()}")
    return labels.astype(np.int64)


def checked_masks(masks: NDArray[Any], shape: tuple[int, ...], where: str) -> NDArray[np.uint8]:
    """Return masks of a shape (N, S, S) as uint8."""
    check_shape(masks.shape, shape, where)
    check_integers(masks, where)
    if masks.min() < 0 or masks.max() > 255:
        raise DataError(f"{where}: must be from 0 to 255, got {masks.min()} to {masks.max()}")
    return masks.astype(np.uint8)


def check_shape(shape: tuple[int, ...], allowed: tuple[int | str, ...], where: str) -> None:
    """Compare shapes; a letter stands for any size."""
    fits = len(shape) == len(allowed) and all(
        isinstance(want, str) or got == want for got, want in zip(shape, allowed, strict=True)
    )
    if not fits:
        text = ", ".join(map(str, allowed)) + ("," if len(allowed) == 1 else "")
        raise DataError(f"{where}: must have the shape ({text}), got {shape}")


def check_integers(array: NDArray[Any], where: str) -> None:
    """Refuse what is not an array of integers."""
    if not np.issubdtype(array.dtype, np.integer):
        raise DataError(f"{where}: must be integers, got {array.dtype}")
