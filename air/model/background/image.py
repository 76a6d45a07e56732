"""One image behind the objects of every scene, or one colour."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from air.model.canvas import Background

_EDGE = 0.02  # from black and white, where a background begins: further, it would hardly learn


class ImageBackground(Background):
    """A learned background, the same for all images, with pixels in (0, 1).

    Args:
        num_channels: of an image.
        x_size: width and height of an image, in pixels; None for one colour.
    """

    def __init__(self, num_channels: int, x_size: int | None) -> None:
        super().__init__()
        size = x_size or 1
        self.logits = nn.Parameter(torch.zeros(num_channels, size, size))
        self.any_size = x_size is None

    def start_at(self, images: Tensor, grounds: Tensor) -> None:
        """Begin with the median of the grounds."""
        with torch.no_grad():
            self.logits.copy_(median_logits(grounds, self.logits.shape[-1]))

    def draw(self, n: int, x_size: int) -> Tensor:
        """Return the background of n images."""
        return self.logits.sigmoid().expand(n, -1, x_size, x_size)

    def infer(self, images: Tensor) -> Tensor:
        """Return the background of images."""
        return self.draw(len(images), images.shape[-1])


def median_logits(images: Tensor, size: int) -> Tensor:
    """Return the logits of the median of images (n, channels, S, S), (channels, size, size).

    It shows what objects hide less than half of the time.

    Args:
        images: floats in [0, 1].
        size: S, or 1 for the median of all their pixels.
    """
    if size == 1:
        images = images.movedim(1, 0).flatten(1).mT[..., None, None]
    return images.median(0).values.clamp(_EDGE, 1 - _EDGE).logit()
