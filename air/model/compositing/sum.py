"""Objects add up: there is no occlusion, and where they overlap the canvas may exceed 1."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import Function, once_differentiable

from air.model.canvas import Compositing
from air.model.functions import followed

_FAINT = 0.1  # brightness; blurred edges of a stroke are brighter


class Sum(Compositing):
    """The compositing of the paper's model.

    Args:
        num_channels: of an image; an object has a layer for each.
    """

    def __init__(self, num_channels: int = 1) -> None:
        super().__init__()
        self.num_layers = num_channels

    def coverage(self, layers: Tensor) -> Tensor:
        """Return how bright the brightest channel is."""
        return layers.squeeze(-3) if self.num_layers == 1 else layers.amax(-3)

    def alone(self, layers: Tensor) -> Tensor:
        """Return the layers: (..., channels, S, S), as they are."""
        return layers

    def shares(self, z_pres: Tensor, layers: Tensor) -> Tensor:
        """Return how bright objects are; the background counts where all of them are faint."""
        bright = z_pres[..., None, None] * self.coverage(layers)
        return torch.cat((torch.full_like(bright[:, :1], _FAINT), bright), 1)

    def forward(self, z_pres: Tensor, layers: Tensor, background: Tensor | None) -> SummedCanvas:
        """Add up the objects that are present, and the background."""
        objects = layers.flatten(-3)  # (n, num_steps, pixels)
        return SummedCanvas(z_pres, objects, None if background is None else background.flatten(1))


@dataclass(frozen=True)
class SummedCanvas:
    """Σ_t z_pres_t · object_t + background, which need not be added up.

    The distance to an image needs no canvas: with x the image less the background, as one more row
    behind the objects, c = [-z_pres, 1], and G_st = ⟨row_s, row_t⟩,

        |x - Σ_t z_pres_t · object_t|² = Σ_st c_s c_t G_st.

    The pixels are met once however many choices of z_pres there are. The terms cancel where the
    canvas explains the image, so the distance is as exact as |x|² is in its number format.

    Attributes:
        z_pres: (..., n, num_steps), 0 or 1; leading dimensions hold other choices of objects.
        objects: (n, num_steps, pixels).
        background: (n, pixels), or None for black.
    """

    z_pres: Tensor
    objects: Tensor
    background: Tensor | None

    @property
    def shape(self) -> torch.Size:
        """(..., n, pixels)."""
        batch_shape = torch.broadcast_shapes(self.z_pres.shape[:-1], self.objects.shape[:-2])
        return batch_shape + self.objects.shape[-1:]

    @property
    def pixels(self) -> Tensor:
        """The canvas itself, (..., n, pixels)."""
        total = torch.einsum("...nt,ntp->...np", self.z_pres, self.objects)
        return total if self.background is None else total + self.background

    def squared_distance(self, images: Tensor, num_parts: int | None = None) -> Tensor:
        """Return |image - canvas|²; see `Painted`."""
        z_pres, objects = self.z_pres, self.objects
        if self.background is not None:
            images = images - self.background
        if num_parts is not None:
            z_pres = z_pres.unsqueeze(-2)  # (..., n, 1, num_steps)
            objects = objects.unflatten(-1, (num_parts, -1)).transpose(-2, -3)
            images = images.unflatten(-1, (num_parts, -1))
        products = _inner_products(objects, images)  # (..., num_steps + 1, num_steps + 1)
        factors = torch.cat((-z_pres, torch.ones_like(z_pres[..., :1])), -1)
        pairs = factors.unsqueeze(-1) * factors.unsqueeze(-2)
        return (pairs * products).sum((-1, -2))

    def expand(self, batch_shape: torch.Size) -> SummedCanvas:
        """Return the same with its leading dimensions expanded."""
        return replace(self, z_pres=self.z_pres.expand(batch_shape + self.z_pres.shape[-1:]))


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
