"""How large the objects of unlabelled images are, and how far apart they lie."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from air.data.ground import BEYOND_NOISE
from air.data.scenes import FAINT

_EDGE = 0.2  # of what an object stands out by; below are the blurred edges of its ink
_BLURS = (1, 3, 5)  # pixels; a pixel is as it is
_SPECK = 4  # pixels; fewer are no object
# Objects that touch are one group, and strokes may come apart. Sizes of one kind of object mostly
# lie within this factor of the typical one; what is outside is left out.
_SAME = 1.3
_WHOLE = 0.9  # of the image's width; what is as large is a pattern of the ground


@dataclass(frozen=True)
class TypicalObjects:
    """What most objects are like.

    Attributes:
        size: the longer side of an object's tight box, in pixels.
        spread: root mean square of the x and y of objects' centres, in coordinates from -1 to 1:
            their standard deviation about the image's middle; at least a pixel.
    """

    size: float
    spread: float


def typical_objects(images: Tensor, grounds: Tensor) -> TypicalObjects:
    """Find what stands out from the grounds of images, brighter or darker, and measure it.

    Args:
        images: (N, channels, S, S), floats in [0, 1].
        grounds: what lies behind their objects, likewise.

    Raises:
        ValueError: no objects are found; the message says why.
    """
    boxes = _tight_boxes(_groups(_stands_out(images, grounds))).to(torch.float64)
    if not len(boxes):
        raise ValueError(f"nothing of {_SPECK} pixels or more stands out")
    size = images.shape[-1]
    sides = (boxes[:, 2:] - boxes[:, :2]).amax(1)
    typical = _typical(sides)
    side = sides[typical].mean().item()
    if side > _WHOLE * size:
        raise ValueError("what stands out reaches from edge to edge")
    centres = (boxes[typical, :2] + boxes[typical, 2:]) / size - 1
    return TypicalObjects(side, max(centres.square().mean().sqrt().item(), 2 / size))


def _stands_out(images: Tensor, grounds: Tensor) -> Tensor:
    """Return which pixels belong to objects, (N, S, S) bool.

    The noise is estimated by the median distance from the ground, which objects hardly change, as
    they cover less than half of the pixels. Where nothing stands out from it, the images are
    blurred, which leaves less of the noise than of objects.
    """
    for width in _BLURS:
        left = F.avg_pool2d(images - grounds, width, stride=1, padding=width // 2)
        distance = left.abs().amax(1)  # of the channel that is farthest
        noise = BEYOND_NOISE * distance.median()
        contrasts = distance.amax((1, 2))
        contrasts = contrasts[contrasts > (2 * noise).clamp(min=FAINT)]  # of those not empty
        if len(contrasts):
            return distance > torch.maximum(noise, _EDGE * contrasts.median())
    raise ValueError("nothing stands out clearly from what images share")


def _groups(stands_out: Tensor) -> Tensor:
    """Return a number for each connected group of pixels, 0 for the ground, (N, S, S) int64.

    Cells of 2 x 2 pixels are connected, which is four times less work and bridges gaps of one pixel
    and some of two. Each cell takes the largest number around it, and then that of the cell which
    this number is of, so that numbers travel ever faster.
    """
    cells = F.max_pool2d(stands_out.to(torch.float64), 2, ceil_mode=True)
    numbers = cells * torch.arange(1, cells.numel() + 1).view_as(cells)
    while True:
        around = F.max_pool2d(numbers, 3, stride=1, padding=1) * cells
        further = F.pad(around.flatten(), (1, 0))[around.long()]
        if torch.equal(further, numbers):
            break
        numbers = further
    size = stands_out.shape[-1]
    pixels = numbers.long().repeat_interleave(2, 1).repeat_interleave(2, 2)
    return pixels[:, :size, :size] * stands_out


def _tight_boxes(groups: Tensor) -> Tensor:
    """Return x0, y0, x1, y1 of each group that is no speck, (M, 4) int64."""
    image, y, x = groups.nonzero(as_tuple=True)
    numbers, group, area = groups[image, y, x].unique(return_inverse=True, return_counts=True)

    def of_groups(values: Tensor, reduce: str) -> Tensor:
        return torch.zeros_like(numbers).scatter_reduce(
            0, group, values, reduce, include_self=False
        )

    low = [of_groups(values, "amin") for values in (x, y)]
    high = [of_groups(values, "amax") + 1 for values in (x, y)]
    return torch.stack([*low, *high], 1)[area >= _SPECK]


def _typical(sides: Tensor) -> Tensor:
    """Return which groups are single objects, by their sides (M,): those near the median of such.

    Each median is of the groups near the one before.
    """
    near = torch.ones_like(sides, dtype=torch.bool)
    for _ in range(10):
        median = sides[near].median()
        near = (sides > median / _SAME) & (sides < median * _SAME)
    return near
