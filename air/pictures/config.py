"""What `scripts/visualize.py` and `scripts/sample.py` draw; values are in `conf/`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from air.data.config import DataConfig
from air.fields import Count, PositiveInt, Seed, UserPath, WhichCheckpoint, strict

PictureName = Literal[
    "reconstructions",
    "windows",
    "build_up",
    "animation",
    "segmentation",
    "mistakes",
    "confusion",
    "training_curves",
    "z_what_space",
    "window_places",
    "prior_samples",
]
Formats = Annotated[list[Literal["png", "pdf"]], Field(min_length=1)]


@strict
class VisualizeConfig:
    """Pictures of a trained run."""

    run: UserPath
    which: WhichCheckpoint
    data: DataConfig | None
    output: UserPath | None
    pictures: Annotated[list[PictureName], Field(min_length=1)]
    formats: Formats
    num_scenes: PositiveInt
    num_images: PositiveInt
    num_steps: PositiveInt | None
    seed: Seed


@strict
class SampleConfig:
    """Scenes from the prior of a trained run."""

    run: UserPath
    which: WhichCheckpoint
    counts: Annotated[list[Count], Field(min_length=1)]
    num_scenes: PositiveInt
    output: UserPath | None
    formats: Formats
    arrays: bool
    seed: Seed
