"""What `scripts/evaluate.py` is asked to measure; values are in `conf/evaluate.yaml`.

Another evaluator is a module `air/evaluation/NAME.py` with a function NAME, whose name stands here.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from air.data.config import DataConfig
from air.errors import ConfigError
from air.fields import Count, PositiveInt, Probability, Seed, UserPath, WhichCheckpoint, strict

EvaluatorName = Literal[
    "counts",
    "elbo",
    "bound",
    "reconstruction",
    "boxes",
    "segmentation",
    "generalisation",
    "downstream",
]


@strict
class BoundConfig:
    """The importance-weighted bound."""

    num_samples: Annotated[list[PositiveInt], Field(min_length=1)]  # K, each dividing the largest
    num_images: PositiveInt

    def __post_init__(self) -> None:
        """Raise `ConfigError` if the samples of the largest K cannot be grouped for another."""
        largest = max(self.num_samples)
        for k in self.num_samples:
            if largest % k:
                raise ConfigError(
                    f"bound.num_samples: each must divide the largest, {largest}, got {k}"
                )


@strict
class BoxesConfig:
    """Windows and tight boxes against the truth."""

    brightness: Probability  # an object's tight box holds its pixels above this


@strict
class GeneralisationConfig:
    """Scenes unlike those of training."""

    counts: list[Count]  # objects in every scene
    canvas_sizes: list[PositiveInt]  # pixels
    canvas_max_objects: PositiveInt | None  # on those canvases; null: as in training
    num_images: PositiveInt


@strict
class DownstreamConfig:
    """The paper's tasks on two digits."""

    num_labels: Annotated[list[PositiveInt], Field(min_length=1)]  # labelled scenes to learn from
    num_test: PositiveInt
    num_unlabelled: PositiveInt
    num_repeats: PositiveInt  # with other labelled scenes


@strict
class EvaluateConfig:
    """Everything that defines an evaluation."""

    run: UserPath
    which: WhichCheckpoint
    data: DataConfig | None
    output: UserPath | None
    evaluators: Annotated[list[EvaluatorName], Field(min_length=1)]
    num_images: PositiveInt
    num_steps: PositiveInt | None
    batch_size: PositiveInt
    seed: Seed
    track: bool
    bound: BoundConfig
    boxes: BoxesConfig
    generalisation: GeneralisationConfig
    downstream: DownstreamConfig
