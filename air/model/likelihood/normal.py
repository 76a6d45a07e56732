"""Pixels that are normal around the canvas, all with one standard deviation."""

from __future__ import annotations

import math
from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from air.model.canvas import Likelihood, Painted
from air.model.sizes import check_sd


class NormalLikelihood(Likelihood):
    """The likelihood of the paper's model, with a standard deviation that is not learned.

    Args:
        sd: of a pixel, positive.

    Raises:
        ValueError: it is not positive and finite.
    """

    def __init__(self, sd: float) -> None:
        super().__init__()
        check_sd("likelihood_sd", sd)
        self.sd = sd

    def forward(self, canvas: Painted) -> CanvasNormal:
        """Return the distribution of images, all pixels in a row, given the canvas."""
        return CanvasNormal(canvas, self.sd)


class CanvasNormal(TorchDistribution):
    """Normal(canvas, sd) of all pixels as one event; its density leaves the canvas unpainted.

    It equals `Normal(canvas.pixels, sd).to_event(1)`. For digits in float32, log densities are
    exact to some 1e-3 nats; see the compositing's `squared_distance`.

    Args:
        canvas: of batch shape (..., n).
        sd: standard deviation of a pixel, positive.
    """

    arg_constraints = {}  # noqa: RUF012 (torch's own convention)
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, canvas: Painted, sd: float, validate_args: bool | None = None) -> None:
        self.canvas = canvas
        self.sd = sd
        super().__init__(canvas.shape[:-1], canvas.shape[-1:], validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        """The canvas, (..., n, pixels)."""
        return self.canvas.pixels

    def expand(self, batch_shape: Any, _instance: Any = None) -> CanvasNormal:
        """Return the distribution with its batch shape expanded."""
        expanded = self.canvas.expand(torch.Size(batch_shape))
        return CanvasNormal(expanded, self.sd, validate_args=False)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Draw images."""
        mean = self.mean
        shape = torch.Size(sample_shape) + mean.shape
        return mean + self.sd * torch.randn(shape, dtype=mean.dtype, device=mean.device)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density of images (..., n, pixels), in nats, (..., n)."""
        if self._validate_args:
            self._validate_sample(value)
        normaliser = self.event_shape[0] * (math.log(self.sd) + 0.5 * math.log(2 * math.pi))
        return self.canvas.squared_distance(value) * (-0.5 / self.sd**2) - normaliser
