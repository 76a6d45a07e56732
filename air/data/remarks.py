"""What makes training images hard to learn from, said before training."""

from __future__ import annotations

import torch
from torch import Tensor

from air.data.scenes import FAINT, TrainingScenes, sampled

# Not all: a few images may be unlike the others. Scenes may well be empty, but not this many.
_NEARLY_ALL = 0.98
_LEVELS = 8  # of brightness; noise with a standard deviation of 0.15 stays within about two
_LIGHT = 0.5  # from here on, a background is nearer to white than to black
_BACKGROUND = 0.25  # of all pixels, at least; images in which no brightness has so many have none


def remarks(train: TrainingScenes, on_black: bool = True) -> list[str]:
    """Say, in one line each, what is odd about training images.

    Args:
        train: the scenes; a sample of at most 1000 of them, spread over all, is read.
        on_black: whether the model has nothing behind its objects.

    Returns:
        A line if nearly all images are of one brightness, or the same picture; and one if their
        background is light and the model's black. Mostly none.
    """
    images = sampled(train)
    lines = (_constant(images), _light(images) if on_black else None)
    return [line for line in lines if line is not None]


def _constant(images: Tensor) -> str | None:
    """Measure the contrast within images (N, channels, S, S), then between them."""
    contrast = (images.amax((2, 3)) - images.amin((2, 3))).amax(1)
    share = _share(contrast < FAINT)
    if share >= _NEARLY_ALL:
        return (
            f"{share:.0%} of the training images sampled have nearly one brightness throughout; "
            "it must run from 0 to 255 (uint8) or from 0 to 1 (floats)"
        )
    distance = (images - images.mean(0)).abs().flatten(1).amax(1)
    share = _share(distance < FAINT)
    if share >= _NEARLY_ALL and len(images) > 1:
        return f"{share:.0%} of the training images sampled are the same picture, but for noise"
    return None


def _light(images: Tensor) -> str | None:
    """Find the brightness that many pixels share, and say so if it is light."""
    levels = (images * _LEVELS).long().clamp(max=_LEVELS - 1).flatten()
    most, level = levels.bincount(minlength=_LEVELS).max(0)
    if most < _BACKGROUND * levels.numel() or level < _LIGHT * _LEVELS:
        return None
    brightness = images.flatten()[levels == level].mean()
    return (
        f"the most frequent brightness of the training images is {brightness:.2f}, where 0 is "
        "black and 1 white: the model adds bright objects to black; background=image "
        "compositing=over takes objects on any ground"
    )


def _share(which: Tensor) -> float:
    return which.to(torch.float64).mean().item()
