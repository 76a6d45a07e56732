"""What the guide asks of an attention."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor, nn

from air.model.canvas import ObjectLatents


class Look(NamedTuple):
    """What an attention says of the next object."""

    z_pres_logit: Tensor  # (n, 1) log odds that there is one
    z_where_loc: Tensor  # (n, 3)
    z_where_scale: Tensor  # (n, 3), positive
    view: Tensor  # (n, x_size, x_size), from which the window is cropped


class Attention(nn.Module):
    """The part of the guide that says where to look next; each kind is a subclass."""

    def start(self, images: Tensor) -> Any:
        """Return the first state, with what is taken from images (n, x_size, x_size) once."""
        raise NotImplementedError

    def forward(self, state: Any, previous: ObjectLatents) -> tuple[Look, Any]:
        """Look for the next object.

        Args:
            state: from `start`, or from the step before.
            previous: the object of the step before; at the first step what the guide learned to
                begin with, of one row for all images.

        Returns:
            What to propose, and the next state.
        """
        raise NotImplementedError
