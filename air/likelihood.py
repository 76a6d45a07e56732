"""The likelihood of an image given the canvas."""

from __future__ import annotations

import math
from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints
from torch.nn import functional as F


class PixelNormal(TorchDistribution):
    """Normal(loc, sd) of all pixels as one event, with the same sd for each.

    It equals `Normal(loc, sd).to_event(1)`. That one takes logarithms, squares and quotients of sd
    for every pixel of every canvas, which is most of the cost of a likelihood.

    Args:
        loc: (..., pixels), the canvas.
        sd: standard deviation of a pixel, positive.
    """

    arg_constraints = {"loc": constraints.real_vector}  # noqa: RUF012 (torch's own convention)
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, loc: Tensor, sd: float, validate_args: bool | None = None) -> None:
        self.loc = loc
        self.sd = sd
        super().__init__(loc.shape[:-1], loc.shape[-1:], validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        """The canvas."""
        return self.loc

    def expand(self, batch_shape: Any, _instance: Any = None) -> PixelNormal:
        """Return the distribution with its batch shape expanded."""
        loc = self.loc.expand(torch.Size(batch_shape) + self.event_shape)
        return PixelNormal(loc, self.sd, validate_args=False)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Draw images."""
        shape = torch.Size(sample_shape) + self.loc.shape
        return self.loc + self.sd * torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density of images (..., pixels), in nats, (...)."""
        if self._validate_args:
            self._validate_sample(value)
        # One pass over the pixels forward and one backward; a difference and its square take five.
        target = value.expand(torch.broadcast_shapes(value.shape, self.loc.shape))
        squares = F.mse_loss(self.loc.expand_as(target), target, reduction="none").sum(-1)
        normaliser = self.event_shape[0] * (math.log(self.sd) + 0.5 * math.log(2 * math.pi))
        return squares * (-0.5 / self.sd**2) - normaliser
