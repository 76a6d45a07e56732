"""Pixels that are black or white: the canvas is the probability of white."""

from __future__ import annotations

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor

from air.model.canvas import Likelihood, Painted


class BernoulliLikelihood(Likelihood):
    """Each pixel is drawn from the canvas c, and then may turn into the other one.

    White has the probability f + (1 - 2 f) c, so that a canvas of 0 or 1 rules no image out: a
    pixel that it says nothing of costs log(1 / f) nats.

    Args:
        flip_probability: f, above 0 and below 1/2.
    """

    def __init__(self, flip_probability: float) -> None:
        super().__init__()
        self.flip_probability = flip_probability

    def forward(self, canvas: Painted) -> TorchDistribution:
        """Return the distribution of images, all pixels in a row, given the canvas."""
        return dist.Bernoulli(self.white(canvas.pixels)).to_event(1)

    def white(self, canvas: Tensor) -> Tensor:
        """Return the probability that a pixel is white, of canvases of any shape."""
        flip = self.flip_probability
        return flip + (1 - 2 * flip) * canvas.clamp(0, 1)  # which rounding may leave

    def of_pixels(self, images: Tensor, canvas: Tensor) -> Tensor:
        """Return the log probability of each pixel; see `Likelihood`."""
        return dist.Bernoulli(self.white(canvas), validate_args=False).log_prob(images).sum(-3)

    def exposed(self, canvas: Tensor) -> Tensor:
        """Draw black and white pixels; images that are grey would tell dreams from the data."""
        return torch.bernoulli(super().exposed(canvas))
