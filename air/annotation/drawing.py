"""An image file with what was found in it."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import resize
from torchvision.utils import draw_bounding_boxes, draw_segmentation_masks

from air.annotation.found import Found
from air.pictures.colours import step_colour

PICTURE_SIZE = 512  # pixels, the longer side of a file's image in its picture
_EDGE = 2  # pixels, of a box
_GAP = 8  # pixels, between the two halves
_OPACITY = 0.6  # of what is laid over an object's pixels


def draw_found(image: Tensor, found: Found) -> Tensor:
    """Draw the boxes on an image and, beside it, what each pixel mostly shows.

    Args:
        image: (1, height, width) or (3, height, width) uint8, of the file.
        found: in it.

    Returns:
        (3, height of the picture, width of the picture) uint8.
    """
    scale = PICTURE_SIZE / max(image.shape[1:])
    shape = [max(1, round(side * scale)) for side in image.shape[1:]]
    # Enlarged pixels stay squares.
    how = InterpolationMode.NEAREST if scale > 1 else InterpolationMode.BILINEAR
    plain = resize(image.expand(3, -1, -1), shape, interpolation=how, antialias=True)
    boxed = shown = plain
    if found.count:
        colours = [step_colour(t) for t in range(found.count)]
        boxed = draw_bounding_boxes(plain, found.boxes * scale, colors=colours, width=_EDGE)
        parts = _parts(found, image.shape[1:], shape)
        numbers = torch.arange(1, found.count + 1)[:, None, None]
        shown = draw_segmentation_masks(plain, parts == numbers, alpha=_OPACITY, colors=colours)
    return torch.cat((boxed, torch.full((3, shape[0], _GAP), 255, dtype=torch.uint8), shown), 2)


def _parts(found: Found, image_shape: torch.Size, shape: list[int]) -> Tensor:
    """Return which object each pixel shows, (height, width); 0 also where the model saw none."""
    placement = found.placement
    seen = placement.target.of(found.segmentation).unsqueeze(0)
    source = placement.source
    parts = torch.zeros((1, *image_shape), dtype=torch.uint8)
    nearest = InterpolationMode.NEAREST
    source.of(parts).copy_(resize(seen, [source.height, source.width], interpolation=nearest))
    return resize(parts, shape, interpolation=nearest).squeeze(0)
