"""What `scripts/gradients.py` measures; values are in `conf/gradients.yaml`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from air.fields import Count, NonEmptyText, PositiveInt, Seed, UserPath, WhichCheckpoint, strict
from air.pictures.config import Formats


@strict
class GradientsConfig:
    """Gradients at fixed parameters."""

    run: UserPath | None
    which: Annotated[list[WhichCheckpoint], Field(min_length=1)]
    overrides: str  # as on a command line
    output: UserPath | None
    num_images: PositiveInt
    num_draws: Annotated[int, Field(ge=2)]
    num_slopes: Count
    baseline_iterations: Count
    device: Literal["auto", "cpu", "cuda"]
    seed: Seed
    formats: Formats
    only: list[NonEmptyText] | None  # of the estimators; null: all
    estimators: Annotated[dict[str, NonEmptyText], Field(min_length=1)]
