"""What a run is: typed dataclasses (the schema) whose values come from the YAML files in `conf/`.

Every field is required: values live in YAML alone. An unknown key or a 3 for a bool is an error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from air.data.config import DataConfig
from air.fields import Seed, UserPath, strict
from air.inference.config import InferenceConfig, SleepConfig
from air.model.config import (
    AttentionConfig,
    BackgroundConfig,
    CompositingConfig,
    LikelihoodConfig,
    ModelConfig,
    PriorConfig,
)
from air.tracking.config import TrackingConfig
from air.training.config import OptimConfig, TrainConfig

if TYPE_CHECKING:
    from air.inference.objective import Objective
    from air.model.air import AIR


@strict
class Config:
    """Everything that defines a run."""

    name: Annotated[str, Field(pattern=r"^[\w.-]+$")]  # part of the run folder's name
    seed: Seed
    device: Literal["auto", "cpu", "cuda"]
    resume: UserPath | None
    data: Annotated[DataConfig, Field(discriminator="kind")]
    model: ModelConfig
    attention: AttentionConfig
    background: BackgroundConfig
    compositing: CompositingConfig
    likelihood: LikelihoodConfig
    prior: PriorConfig
    inference: InferenceConfig
    sleep: SleepConfig
    optim: OptimConfig
    train: TrainConfig
    tracking: Annotated[TrackingConfig, Field(discriminator="kind")]

    def build_model(self, x_size: int) -> AIR:
        """Return a new model.

        Args:
            x_size: width and height of an image, in pixels.
        """
        return self.model.build(
            x_size,
            self.attention,
            self.background,
            self.compositing,
            self.likelihood,
            **self.inference.baseline.arguments(),
        )

    def build_objective(self) -> Objective:
        """Return what a step minimises."""
        from air.inference.objective import Objective

        terms = [*self.sleep.build_terms(), *self.inference.search.build_terms()]
        return Objective(self.inference.build(), terms)
