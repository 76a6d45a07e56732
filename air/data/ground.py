"""What lies behind the objects of unlabelled images, found before anything is learned."""

from __future__ import annotations

import torch
from torch import Tensor

_SHARE = 0.75  # of all pixels, which a ground has to explain
_AS_GOOD = 1.3  # times the distance that the best ground leaves; patterns also fit noise
_NO_DISTANCE = 2 / 255
_MOST = 24  # components; a grid that is shifted at random takes some 14, a slope 2
_ROUNDS = 6
# Times the median distance: 4 standard deviations of plain noise; 1 pixel in 16 000 is beyond.
BEYOND_NOISE = 4.0 * 1.4826
_OBJECTS = 0.1  # the share of pixels that may show objects, however little noise there is
_MAX_VALUES = 10_000  # for a quantile


def grounds_of(images: Tensor) -> Tensor:
    """Return what images show but for their objects, of the images' shape.

    It is the simplest of three that explains most pixels as well as any: one colour for each image,
    one image for all, or a few patterns that are mixed anew in each image.

    Args:
        images: (N, channels, S, S), floats in [0, 1].
    """
    found: list[tuple[float, Tensor]] = []
    for ground_of in (_plain, _common, _mixed):
        ground = ground_of(images)
        distance = _quantile((images - ground).abs(), _SHARE).item()
        if distance < _NO_DISTANCE:
            return ground
        found.append((distance, ground))
    least = min(distance for distance, _ in found)
    return next(ground for distance, ground in found if distance <= _AS_GOOD * least)


def _plain(images: Tensor) -> Tensor:
    """Return each image's median colour."""
    return images.flatten(2).median(2).values[..., None, None].expand_as(images)


def _common(images: Tensor) -> Tensor:
    """Return the median of all images."""
    return images.median(0).values.expand_as(images)


def _mixed(images: Tensor) -> Tensor:
    """Return what the first principal components explain.

    Objects are anywhere, so theirs are of all sizes, and those before the largest gap between two
    of them are the grounds' (the eigenvalue ratio of Ahn and Horenstein, 2013). They are fitted
    again and again without the pixels that are farthest off.
    """
    rows = images.flatten(1)  # (N, pixels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # of sketches
        _, scales, _ = _components(rows, min(_MOST + 1, *rows.shape))
        rank = int((scales[:-1] / scales[1:].clamp(min=1e-12)).argmax()) + 1
        kept = rows
        for _ in range(_ROUNDS):
            left, scales, right = _components(kept, rank)
            ground = kept.mean(0) + (left * scales) @ right.mT
            distance = (rows - ground).abs()
            noise = BEYOND_NOISE * _quantile(distance, 0.5)
            limit = torch.maximum(noise, _quantile(distance, 1 - _OBJECTS))
            kept = torch.where(distance <= limit, rows, ground)
    return ground.view_as(images)


def _components(rows: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    return torch.svd_lowrank(rows - rows.mean(0), q=rank, niter=2)


def _quantile(values: Tensor, share: float) -> Tensor:
    """Return a quantile of some of the values, spread over all."""
    return values.flatten()[:: max(1, values.numel() // _MAX_VALUES)].quantile(share)
