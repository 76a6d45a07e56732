"""The likelihood of an image given the objects on its canvas."""

from __future__ import annotations

import math
from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.autograd.function import Function, once_differentiable
from torch.distributions import constraints

from air.model.functions import followed


class CanvasNormal(TorchDistribution):
    """Normal(canvas, sd) of all pixels as one event, where the canvas is a sum of objects.

    It equals `Normal(canvas, sd).to_event(1)` with canvas = Σ_t z_pres_t · object_t. Its density
    needs no canvas: with the image as one more row behind the objects, c = [-z_pres, 1], and
    G_st = ⟨row_s, row_t⟩,

        |x - canvas|² = Σ_st c_s c_t G_st.

    The pixels are met once however many choices of z_pres there are. The terms cancel where the
    canvas explains the image, so the density is as exact as |x|² / (2 sd²) is in its number format:
    to some 1e-3 nats for digits in float32.

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
        products = _inner_products(self.objects, value)  # (..., n, num_steps + 1, num_steps + 1)
        factors = torch.cat((-self.z_pres, torch.ones_like(self.z_pres[..., :1])), -1)
        pairs = factors.unsqueeze(-1) * factors.unsqueeze(-2)
        squares = (pairs * products).sum((-1, -2))
        normaliser = self.event_shape[0] * (math.log(self.sd) + 0.5 * math.log(2 * math.pi))
        return squares * (-0.5 / self.sd**2) - normaliser


def _inner_products(objects: Tensor, value: Tensor) -> Tensor:
    """Return those of every two of the objects (..., T, pixels) and the value (..., pixels)."""
    leading = torch.broadcast_shapes(objects.shape[:-2], value.shape[:-1])
    objects, value = objects.expand(*leading, -1, -1), value.expand(*leading, -1)
    return followed(_InnerProducts, objects, value)  # (..., T + 1, T + 1)


class _InnerProducts(Function):
    """rows @ rows.mT, with a gradient that knows that the result is symmetric.

    Autograd takes two products with the rows, one of them against their order in memory, and adds
    them up; this takes one.
    """

    @staticmethod
    def forward(objects: Tensor, value: Tensor) -> Tensor:
        """Return all products: (..., T, pixels), (..., pixels) -> (..., T + 1, T + 1)."""
        rows = torch.cat((objects, value.unsqueeze(-2)), -2)
        return rows @ rows.mT

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        """Keep the factors."""
        ctx.save_for_backward(*inputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Return the gradients of the objects and of the value."""
        objects, value = ctx.saved_tensors
        rows = torch.cat((objects, value.unsqueeze(-2)), -2)  # a recorded step has it from forward
        grad = grad + grad.mT
        grad_objects = grad[..., :-1, :] @ rows if ctx.needs_input_grad[0] else None
        grad_value = (grad[..., -1:, :] @ rows).squeeze(-2) if ctx.needs_input_grad[1] else None
        return grad_objects, grad_value
