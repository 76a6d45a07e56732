"""How AIR learns: the groups `inference`, `baseline`, `search` and `sleep`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from air.fields import Layers, PositiveInt, PositiveReal, Probability, strict


@strict
class InferenceConfig:
    """The estimator of the evidence lower bound and of its gradient."""

    kind: Literal["marginal", "reinforce"]


@strict
class NeuralBaselineConfig:
    """A network that predicts the learning signal from the image and the latents so far."""

    kind: Literal["neural"]
    net: Layers
    scalar: PositiveReal | None  # multiplies the network's output


@strict
class MovingAverageBaselineConfig:
    """Pyro's decaying average of past learning signals."""

    kind: Literal["moving_average"]
    decay: Probability


@strict
class NoBaselineConfig:
    """The plain score-function estimator."""

    kind: Literal["none"]


BaselineConfig = NeuralBaselineConfig | MovingAverageBaselineConfig | NoBaselineConfig


@strict
class NoSleepConfig:
    """The ELBO alone."""

    kind: Literal["none"]


@strict
class DreamsConfig:
    """A sleep phase: the guide also learns from scenes that the model dreams."""

    kind: Literal["dreams"]
    weight: PositiveReal  # of a dream's -log q against an image's -ELBO
    batch_size: PositiveInt  # dreams in a step
    max_objects: PositiveInt | None  # in a dream; null: as many as the model has steps
    codes: Literal["prior", "posterior"]  # whether z_what is that of objects found in the batch


SleepConfig = NoSleepConfig | DreamsConfig


@strict
class NoSearchConfig:
    """The guide's own path alone says how many objects there are."""

    kind: Literal["none"]


@strict
class CutsConfig:
    """A search: images cut in two, and one window over everything, may explain an image better."""

    kind: Literal["cuts"]
    weight: PositiveReal  # of -log q(the best count) against an image's -ELBO
    num_cuts: Annotated[int, Field(ge=1, le=16)]  # pairs of objects; small images have no more
    num_windows: PositiveInt  # single objects tried for each image
    margin: Annotated[float, Field(ge=0, allow_inf_nan=False)]  # nats between best and next count


SearchConfig = NoSearchConfig | CutsConfig
