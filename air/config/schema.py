"""What a run is: typed dataclasses (the schema) whose values come from the YAML files in `conf/`.

Every field is required: values live in YAML alone. An unknown key or a 3 for a bool is an error.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from air.data.config import DataConfig
from air.fields import Seed, UserPath, strict
from air.inference.config import BaselineConfig, InferenceConfig, SearchConfig, SleepConfig
from air.model.config import ModelConfig, PriorConfig
from air.tracking.config import TrackingConfig
from air.training.config import OptimConfig, TrainConfig


@strict
class Config:
    """Everything that defines a run."""

    name: Annotated[str, Field(pattern=r"^[\w.-]+$")]  # part of the run folder's name
    seed: Seed
    device: Literal["auto", "cpu", "cuda"]
    resume: UserPath | None
    data: Annotated[DataConfig, Field(discriminator="kind")]
    model: ModelConfig
    prior: Annotated[PriorConfig, Field(discriminator="kind")]
    baseline: Annotated[BaselineConfig, Field(discriminator="kind")]
    inference: InferenceConfig
    sleep: Annotated[SleepConfig, Field(discriminator="kind")]
    search: Annotated[SearchConfig, Field(discriminator="kind")]
    optim: OptimConfig
    train: TrainConfig
    tracking: Annotated[TrackingConfig, Field(discriminator="kind")]
