"""Images as they are stored and as the model sees them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

# For bytes whose maximum is 1: divided by 255, all of them would be black.
BYTES_OF_0_AND_1 = (
    "bytes must run from 0 to 255, got 0 and 1 alone; multiply them by 255, or store them as bool"
)


def to_unit(
    images: Tensor, device: torch.device | str, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Bring a batch to the device, then to floats in [0, 1]; uint8 travels as bytes.

    Args:
        images: uint8 0…255 or floats in [0, 1], of any shape.
        device: where the model is.
        dtype: of the model.
    """
    images = images.to(device, non_blocking=True)
    unit = images.to(dtype)
    return unit / 255 if images.dtype == torch.uint8 else unit


def planes(images: Tensor) -> Tensor:
    """Return images as networks and canvases take them, a plane for each channel.

    Args:
        images: (N, S, S), or (N, S, S, channels).

    Returns:
        (N, channels, S, S).
    """
    return images.unsqueeze(1) if images.ndim == 3 else images.movedim(-1, 1)


def pictures(planes: Tensor) -> Tensor:
    """Return images as they are stored and shown: the inverse of `planes`.

    Args:
        planes: (..., channels, S, S).

    Returns:
        (..., S, S) of one channel, (..., S, S, channels) of several.
    """
    return planes.squeeze(-3) if planes.shape[-3] == 1 else planes.movedim(-3, -1)


def in_type_of(like: Tensor, images: Tensor) -> Tensor:
    """Return images as model and guide compute with them: as planes, in the parameters' own type.

    Args:
        like: a tensor of the model's.
        images: (N, S, S) or (N, S, S, channels), floats in [0, 1] or bool.

    Returns:
        (N, channels, S, S).

    Raises:
        TypeError: they are neither, and so perhaps not in [0, 1].
    """
    if not (images.is_floating_point() or images.dtype == torch.bool):
        raise TypeError(
            f"data must be floats in [0, 1] or bool, got {images.dtype}; divide bytes from 0 to "
            "255 by 255, and make bytes that are 0 and 1 bool"
        )
    return planes(images).to(like.dtype)


def checked_images(images: Any, sizes: range, channels: int = 1) -> Tensor:
    """Return images of a user's as a tensor that `to_unit` takes; False and True as 0 and 255.

    Args:
        images: a tensor or anything numpy takes for an array.
        sizes: the widths and heights that they may have, in pixels.
        channels: that they must have.

    Raises:
        ValueError: none, or of another shape or type; floats that are not finite or not in [0, 1];
            bytes that are 0 and 1.
    """
    images = torch.as_tensor(images)
    shape, of_each = tuple(images.shape), () if channels == 1 else (channels,)
    are_square = len(shape) == 3 + len(of_each) and shape[1] == shape[2] and shape[3:] == of_each
    if not are_square or shape[1] not in sizes or len(images) == 0:
        least, rest = sizes[0], "".join(f", {number}" for number in of_each)
        allowed = f"(N, {least}, {least}{rest})"
        if len(sizes) > 1:
            allowed = f"(N, S, S{rest}), S at least {least}"
        raise ValueError(
            f"images must have the shape {allowed}, N at least 1, got {tuple(images.shape)}"
        )
    if images.dtype == torch.bool:
        return images.to(torch.uint8) * 255
    if images.dtype == torch.uint8:
        if images.max() == 1:
            raise ValueError(f"images: {BYTES_OF_0_AND_1}")
        return images
    if not images.is_floating_point():
        raise ValueError(f"images must be uint8, bool, or floats in [0, 1], got {images.dtype}")
    if images.numel() and not (images.min() >= 0 and images.max() <= 1):
        raise ValueError("float images must be finite and in [0, 1]; divide by 255 if they are not")
    return images
