"""What the guide asks of an attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

from air.model.canvas import ObjectLatents

# (objects of several steps, background (n, channels, x_size, x_size) or None) -> images
Render = Callable[[ObjectLatents, Tensor | None], Tensor]


class Places(NamedTuple):
    """Where an attention with a map may look next; places are told row by row."""

    heat: Tensor  # (n, G²), the larger the rather it looks there
    centres: Tensor  # (G,) coordinates of the places' centres, the same along both axes


ChoosePlace = Callable[[Places], Tensor]  # -> (n, 1), the number of a place


def hottest(places: Places) -> Tensor:
    """Return the place of the greatest heat, (n, 1)."""
    return places.heat.argmax(-1, keepdim=True)


class Look(NamedTuple):
    """What an attention says of the next object."""

    z_pres_logit: Tensor  # (n, 1) log odds that there is one
    z_where_loc: Tensor  # (n, 3)
    z_where_scale: Tensor  # (n, 3), positive
    view: Tensor  # (n, channels, x_size, x_size), from which the window is cropped


class Attention(nn.Module):
    """The part of the guide that says where to look next; each kind is a subclass.

    Attributes:
        any_size: whether it takes images of any size, or of the model's own alone. z_where is then
            relative to the moments that its prior has in images of their size.
    """

    any_size: ClassVar[bool] = False

    def start(self, images: Tensor, background: Tensor | None, render: Render) -> Any:
        """Return the first state, with what is taken from images once.

        Args:
            images: (n, channels, x_size, x_size).
            background: what the guide inferred to lie behind the objects, or None for black.
            render: what the generative model makes of objects.
        """
        raise NotImplementedError

    def forward(
        self, state: Any, previous: ObjectLatents, choose_place: ChoosePlace = hottest
    ) -> tuple[Look, Any]:
        """Look for the next object.

        Args:
            state: from `start`, or from the step before.
            previous: the object of the step before; at the first step what the guide learned to
                begin with, of one row for all images.
            choose_place: where to look; not used by an attention that has no map.

        Returns:
            What to propose, and the next state.
        """
        raise NotImplementedError


def foreground_of(images: Tensor, background: Tensor | None) -> Tensor:
    """Return images (n, channels, x_size, x_size) without what lies behind their objects."""
    return images if background is None else images - background
