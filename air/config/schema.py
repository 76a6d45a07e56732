"""What a run is: typed dataclasses (the schema) whose values come from the YAML files in `conf/`.

Every field is required: values live in YAML alone. An unknown key or a 3 for a bool is an error.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from air.data.config import DataConfig, ImagesConfig, SceneConfig
from air.errors import ConfigError
from air.fields import Seed, UserPath, strict
from air.inference.config import InferenceConfig, SleepConfig, check_shares
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
    from air.data.scenes import TrainingScenes
    from air.inference.objective import Objective
    from air.model.air import AIR


@strict
class Config:
    """Everything that defines a run."""

    name: Annotated[str, Field(pattern=r"^[\w.-]+$")]  # part of the run folder's name
    seed: Seed
    device: Literal["auto", "cpu", "cuda"]
    resume: UserPath | None
    data: DataConfig
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
    tracking: TrackingConfig

    def check(self) -> None:
        """Check what fields must be to one another, as far as it is known before images are read.

        Raises:
            ConfigError: the estimator, the compositing or the likelihood has no meaning for the
                model, or as `check_images`.
        """
        if isinstance(self.data, SceneConfig):
            self.check_images(self.data.canvas_size, self.data.num_train, self.data.num_channels)
        if isinstance(self.data, ImagesConfig):
            self.model.check(self.data.size)
        self.inference.check(self.model)
        self.compositing.check(self.model.decoder_output_use_sigmoid)
        self.likelihood.check(self.model.likelihood_sd, self.compositing)

    def check_images(self, x_size: int, num_train: int, num_channels: int = 1) -> None:
        """Check what depends on the images, which a file of the user's tells only when it is read.

        Args:
            x_size: width and height of an image, in pixels.
            num_train: number of training images.
            num_channels: of an image.

        Raises:
            ConfigError: no model has these sizes, or a batch is larger than the data.
        """
        self.model.check(x_size, num_channels)
        if self.train.batch_size > num_train:
            raise ConfigError(
                f"train.batch_size: must be at most the {num_train} training images, "
                f"got {self.train.batch_size}"
            )

    def shared_by(self, num_processes: int) -> Config:
        """Return what each of several processes does, which together do as configured.

        A batch is shared as it is drawn; dreams are each process's own.

        Raises:
            ConfigError: a batch cannot be shared equally among so many.
        """
        check_shares("train.batch_size", self.train.batch_size, num_processes)
        sleep = self.sleep.shared_by(num_processes)
        return replace(self, sleep=sleep)

    def fitted_to(self, train: TrainingScenes) -> Config:
        """Return the same run with numbers in the place of `auto`.

        Args:
            train: what it learns from; a sample of the images is read, and no truth.

        Raises:
            ConfigError: the images do not tell.
        """
        keys = self.model.automatic
        if not keys:
            return self
        from air.data.ground import grounds_of
        from air.data.objects import typical_objects
        from air.data.scenes import sampled

        images = sampled(train)
        try:
            objects = typical_objects(images, grounds_of(images))
        except ValueError as error:
            raise ConfigError(
                f"{' and '.join(keys)}: must be given as a number, got 'auto', which finds no "
                f"objects in these training images: {error}"
            ) from None
        model = self.model.fitted(train.x_size, objects.size, objects.spread)
        return replace(self, model=model)

    def build_model(self, x_size: int, num_channels: int = 1) -> AIR:
        """Return a new model.

        Args:
            x_size: width and height of an image, in pixels.
            num_channels: of an image.

        Raises:
            ConfigError: a number of the model's is still `auto`; see `fitted_to`.
        """
        from air.model.air import AIR

        return AIR(
            x_size=x_size,
            num_channels=num_channels,
            attention=self.attention,
            background=self.background,
            compositing=self.compositing,
            likelihood=self.likelihood,
            **self.model.arguments(),
            **self.inference.baseline.arguments(),
        )

    def build_objective(self) -> Objective:
        """Return what a step minimises."""
        from air.inference.objective import Objective

        scheduled = tuple(self.inference.scheduled(0))
        return Objective(self.inference.build(), self.sleep.build_terms(), scheduled)
