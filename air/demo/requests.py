"""What the page sends, checked as strictly as a configuration."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from air.fields import PositiveInt, strict

Byte = Annotated[int, Field(ge=0, le=255)]
# Rows of pixels, from the top; a pixel is a list of its channels: one of grey, three of colour.
Pixels = list[list[list[Byte]]]
Latent = Annotated[float, Field(ge=-1e6, le=1e6)]  # far beyond any use, and finite in float32
MostSteps = Annotated[PositiveInt, Field(le=100)]  # a request has to end


@strict
class InferRequest:
    """A scene in which to find objects."""

    pixels: Pixels
    num_steps: MostSteps | None  # the most objects to look for; None: the model's own number


@strict
class StepLatents:
    """One object, as inferred or as a visitor changed it."""

    present: bool
    z_where: Annotated[list[Latent], Field(min_length=3, max_length=3)]  # s, x, y
    z_what: list[Latent]


@strict
class RenderRequest:
    """Objects to draw, and what lies behind them."""

    steps: Annotated[list[StepLatents], Field(min_length=1, max_length=100)]
    background: Pixels | None  # as inferred; None for black
