"""Objects cover one another and the background: each has an alpha mask (Porter and Duff, 1984)."""

from __future__ import annotations

import torch
from torch import Tensor

from air.model.canvas import Compositing
from air.model.compositing.sum import SummedCanvas


class Over(Compositing):
    """The first object is in front of the second, and so on; the background is behind them all.

    With appearances c_t, alpha masks a_t, and τ_t = Π_{s<=t} (1 - a_s) of the background b left
    uncovered, the canvas of n objects is Σ_{t<=n} τ_{t-1} a_t c_t + τ_n b. As
    τ_n = 1 - Σ_{t<=n} τ_{t-1} a_t, it is also

        b + Σ_{t<=n} τ_{t-1} a_t (c_t - b),

    a sum of what each object changes, whatever lies behind it. z_pres is a staircase, so that an
    object that is present has all that are before it: the sum holds for every number of objects.

    Args:
        num_channels: of an image; an object has a layer for each, and one for its mask.
    """

    ground = 0.5  # which dark and light objects differ from

    def __init__(self, num_channels: int = 1) -> None:
        super().__init__()
        self.num_layers = num_channels + 1
        self.biased = slice(num_channels, None)  # objects start nearly transparent, not dark

    def to_place(self, windows: Tensor) -> Tensor:
        """Return a_t c_t and a_t of appearances and masks; both end where the window does."""
        appearance, mask = windows.split((self.num_layers - 1, 1), -3)
        return torch.cat((mask * appearance, mask), -3)

    def coverage(self, layers: Tensor) -> Tensor:
        """Return the masks."""
        return layers[..., -1, :, :]

    def alone(self, layers: Tensor) -> Tensor:
        """Return objects in front of the ground."""
        return layers[..., :-1, :, :] + self.ground * (1 - layers[..., -1:, :, :])

    def shares(self, z_pres: Tensor, layers: Tensor) -> Tensor:
        """Return what is left of each mask behind those in front of it."""
        masks = z_pres[..., None, None] * self.coverage(layers)  # (n, num_steps, S, S)
        left = (1 - masks).cumprod(1)
        before = torch.cat((torch.ones_like(left[:, :1]), left[:, :-1]), 1)
        return torch.cat((left[:, -1:], before * masks), 1)

    def uncovered(self, layers: Tensor) -> Tensor:
        """Return the appearances c_t."""
        light, mask = layers.split((self.num_layers - 1, 1), -3)
        return light / mask.clamp(min=torch.finfo(mask.dtype).tiny)

    def hidden(self, z_pres: Tensor, layers: Tensor) -> Tensor:
        """Return the share of each mask that lies under each one in front of it."""
        masks = (z_pres[..., None, None] * self.coverage(layers)).flatten(2)  # (n, num_steps, S²)
        return (masks @ masks.mT).tril(-1) / masks.sum(-1, keepdim=True).clamp(min=1.0)

    def forward(self, z_pres: Tensor, layers: Tensor, background: Tensor | None) -> SummedCanvas:
        """Put the objects that are present in front of one another, and of the background."""
        left: Tensor | None = None  # (n, 1, S, S), τ_{t-1}
        changes: list[Tensor] = []
        for object_layers in layers.unbind(1):
            light, mask = object_layers.split((self.num_layers - 1, 1), -3)  # (n, ..., S, S)
            change = light if background is None else light - mask * background
            changes.append(change if left is None else left * change)
            left = 1 - mask if left is None else left * (1 - mask)
        objects = torch.stack(changes, 1).flatten(-3)  # (n, num_steps, pixels)
        return SummedCanvas(z_pres, objects, None if background is None else background.flatten(1))
