"""The likelihood of an image given the objects on its canvas."""

from __future__ import annotations

import math
from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints


class CanvasNormal(TorchDistribution):
    """Normal(canvas, sd) of all pixels as one event, where the canvas is a sum of objects.

    It equals `Normal(canvas, sd).to_event(1)` with canvas = Σ_t z_pres_t · object_t. Its density
    needs no canvas: with b_t = ⟨x, object_t⟩ and G_st = ⟨object_s, object_t⟩,

        |x - canvas|² = |x|² - 2 Σ_t z_pres_t b_t + Σ_st z_pres_s z_pres_t G_st.

    The pixels are met once however many choices of z_pres there are, and no image is written. The
    terms cancel where the canvas explains the image, so the density is as exact as |x|² / (2 sd²)
    is in its number format: to some 1e-3 nats for digits in float32.

    Args:
        z_pres: (..., n, num_steps), 0 or 1; leading dimensions hold other choices of objects.
        objects: (n, num_steps, pixels).
        sd: standard deviation of a pixel, positive.
    """

    arg_constraints = {"objects": constraints.real}  # noqa: RUF012 (torch's own convention)
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self, z_pres: Tensor, objects: Tensor, sd: float, validate_args: bool | None = None
    ) -> None:
        self.z_pres = z_pres
        self.objects = objects
        self.sd = sd
        batch_shape = torch.broadcast_shapes(z_pres.shape[:-1], objects.shape[:-2])
        super().__init__(batch_shape, objects.shape[-1:], validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        """The canvas, (..., n, pixels)."""
        return (self.z_pres.unsqueeze(-2) @ self.objects).squeeze(-2)

    def expand(self, batch_shape: Any, _instance: Any = None) -> CanvasNormal:
        """Return the distribution with its batch shape expanded."""
        z_pres = self.z_pres.expand(torch.Size(batch_shape) + self.z_pres.shape[-1:])
        return CanvasNormal(z_pres, self.objects, self.sd, validate_args=False)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Draw images."""
        mean = self.mean
        shape = torch.Size(sample_shape) + mean.shape
        return mean + self.sd * torch.randn(shape, dtype=mean.dtype, device=mean.device)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density of images (..., n, pixels), in nats, (..., n)."""
        if self._validate_args:
            self._validate_sample(value)
        overlap = (self.objects @ value.unsqueeze(-1)).squeeze(-1)  # (..., n, num_steps)
        products = self.objects @ self.objects.mT  # (n, num_steps, num_steps)
        pairs = self.z_pres.unsqueeze(-1) * self.z_pres.unsqueeze(-2)
        squares = (
            value.square().sum(-1)
            - 2 * (self.z_pres * overlap).sum(-1)
            + (pairs * products).sum((-1, -2))
        )
        normaliser = self.event_shape[0] * (math.log(self.sd) + 0.5 * math.log(2 * math.pi))
        return squares * (-0.5 / self.sd**2) - normaliser
