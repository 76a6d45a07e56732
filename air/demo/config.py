"""What `scripts/demo.py` shows and where; values are in `conf/demo.yaml`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from air.fields import (
    NonEmptyText,
    PositiveInt,
    PositiveReal,
    Probability,
    UserPath,
    WhichCheckpoint,
    strict,
)

Port = Annotated[int, Field(ge=0, lt=2**16)]


@strict
class UploadsConfig:
    """The largest image that a visitor may load."""

    max_megabytes: PositiveReal
    max_megapixels: PositiveReal


@strict
class SlidersConfig:
    """How far the sliders go to both sides of what was inferred."""

    scale: Probability  # a share of s itself, so that s keeps its sign
    position: PositiveReal
    what: PositiveReal
    num_components: PositiveInt


@strict
class DemoConfig:
    """Everything that defines a demonstration."""

    run: UserPath
    which: WhichCheckpoint
    host: NonEmptyText
    port: Port  # 0: any free one
    open_browser: bool
    uploads: UploadsConfig
    sliders: SlidersConfig
