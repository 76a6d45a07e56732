"""Pixels that are normal around the canvas."""

from __future__ import annotations

import math
from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn
from torch.distributions import constraints

from air.model.canvas import Likelihood, Painted
from air.model.sizes import LEAST_LEARNED_SD, check_learned_sd, check_sd


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

    def of_pixels(self, images: Tensor, canvas: Tensor) -> Tensor:
        """Return the log density of each pixel; see `Likelihood`."""
        return -0.5 * ((images - canvas) / self.sd).square().sum(-3)


class LearnedNormalLikelihood(Likelihood):
    """A standard deviation that is learned: one, or one for each channel.

    Its square is that of `LEAST_LEARNED_SD` and a learned one's, like that of noise from two
    sources, so that it cannot collapse and has a gradient however low it is.

    Args:
        sd: what it starts at, above `LEAST_LEARNED_SD`.
        num_sds: 1, or the number of channels.

    Raises:
        ValueError: it cannot start there.
    """

    def __init__(self, sd: float, num_sds: int = 1) -> None:
        super().__init__()
        check_learned_sd("likelihood_sd", sd)
        learned = math.sqrt(sd**2 - LEAST_LEARNED_SD**2)
        self.log_sd = nn.Parameter(torch.full((num_sds,), math.log(learned)))

    @property
    def sd(self) -> Tensor:
        """The standard deviation of each channel, (num_sds,)."""
        return ((2 * self.log_sd).exp() + LEAST_LEARNED_SD**2).sqrt()

    def forward(self, canvas: Painted) -> CanvasNormal:
        """Return the distribution of images, all pixels in a row, given the canvas."""
        return CanvasNormal(canvas, self.sd)

    def of_pixels(self, images: Tensor, canvas: Tensor) -> Tensor:
        """Return the log density of each pixel; see `Likelihood`."""
        return -0.5 * ((images - canvas) / self.sd[:, None, None]).square().sum(-3)

    def metrics(self) -> dict[str, float]:
        """Return the standard deviation: `likelihood_sd`, or with `_0`, `_1`, … of channels."""
        sds = self.sd.tolist()
        if len(sds) == 1:
            return {"likelihood_sd": sds[0]}
        return {f"likelihood_sd_{channel}": sd for channel, sd in enumerate(sds)}


class CanvasNormal(TorchDistribution):
    """Normal(canvas, sd) of all pixels as one event; its density leaves the canvas unpainted.

    It equals `Normal(canvas.pixels, sd).to_event(1)`. For digits in float32 and an sd of 0.3, log
    densities are exact to some 1e-3 nats; see the compositing's `squared_distance`.

    Args:
        canvas: of batch shape (..., n).
        sd: standard deviation of a pixel, positive: a number, or (num_parts,) those of equal parts
            of the pixels, such as channels, which may be learned.
    """

    arg_constraints = {}  # noqa: RUF012 (torch's own convention)
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self, canvas: Painted, sd: float | Tensor, validate_args: bool | None = None
    ) -> None:
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
        mean, sd = self.mean, self.sd
        if isinstance(sd, Tensor):
            sd = sd.repeat_interleave(mean.shape[-1] // len(sd))  # (pixels,)
        shape = torch.Size(sample_shape) + mean.shape
        return mean + sd * torch.randn(shape, dtype=mean.dtype, device=mean.device)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density of images (..., n, pixels), in nats, (..., n)."""
        if self._validate_args:
            self._validate_sample(value)
        num_pixels, sd = self.event_shape[0], self.sd
        if isinstance(sd, Tensor):
            distances = self.canvas.squared_distance(value, num_parts=len(sd))  # (..., n, parts)
            normalisers = (num_pixels // len(sd)) * (sd.log() + 0.5 * math.log(2 * math.pi))
            return (distances * (-0.5 / sd.square()) - normalisers).sum(-1)
        normaliser = num_pixels * (math.log(sd) + 0.5 * math.log(2 * math.pi))
        return self.canvas.squared_distance(value) * (-0.5 / sd**2) - normaliser
