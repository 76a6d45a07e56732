"""What a run is: typed dataclasses (the schema) whose values come from the YAML files in `conf/`.

Every field is required: values live in YAML alone. An unknown key or a 3 for a bool is an error.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from air.config.data import DataConfig
from air.config.fields import (
    Count,
    GivenPath,
    Layers,
    NonEmptyLayers,
    NonLinearity,
    PositiveInt,
    PositiveReal,
    Probability,
    Real,
    Seed,
    UserPath,
    strict,
)

# --- model --------------------------------------------------------------------------------------


@strict
class ModelConfig:
    """Keyword arguments of `air.AIR` that are chosen by configuration, with the same meanings."""

    num_steps: PositiveInt
    window_size: PositiveInt
    z_what_size: PositiveInt
    rnn_hidden_size: PositiveInt
    encoder_net: Layers
    decoder_net: Layers
    predict_net: Layers
    embed_channels: NonEmptyLayers | None
    embed_kernels: NonEmptyLayers | None  # null: 3 pixels each
    embed_strides: NonEmptyLayers | None  # null: 2 pixels each
    embed_net: NonEmptyLayers | None
    non_linearity: NonLinearity
    decoder_output_bias: Real | None
    decoder_output_use_sigmoid: bool
    use_masking: bool
    scale_prior_mean: PositiveReal
    scale_prior_sd: PositiveReal
    pos_prior_mean: Real
    pos_prior_sd: PositiveReal
    likelihood_sd: PositiveReal


# --- presence prior -----------------------------------------------------------------------------


@strict
class ConstantPriorConfig:
    """The same presence prior throughout training."""

    kind: Literal["constant"]
    success: Probability  # k of p(n) ∝ kⁿ or, when raw, the trial probability of every step
    raw: bool


@strict
class AnnealedPriorConfig:
    """A presence prior that moves from `success` to `anneal_to` during training."""

    kind: Literal["linear", "exponential"]
    success: Probability
    raw: bool
    anneal_to: Probability
    anneal_begin: Count  # iterations
    anneal_duration: PositiveInt  # iterations


PriorConfig = ConstantPriorConfig | AnnealedPriorConfig


# --- inference ----------------------------------------------------------------------------------


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


# --- optimisation, training, tracking -----------------------------------------------------------


@strict
class OptimConfig:
    """Adam and how its learning rates move."""

    lr: PositiveReal
    baseline_lr: PositiveReal
    schedule: Literal["constant", "linear", "cosine"]
    warmup_iterations: Count
    clip_norm: PositiveReal | None  # of the gradient per image, over all parameters


@strict
class TrainConfig:
    """How long to train, and how often to look and to save."""

    num_iterations: PositiveInt
    batch_size: PositiveInt
    log_every: PositiveInt
    eval_every: PositiveInt
    eval_size: PositiveInt  # held-out images looked at on the way; the end looks at all
    save_every: PositiveInt
    num_pictures: Count  # scenes in each picture
    recorded: bool  # record the tensor operations of the first step and play them back
    compiled: bool  # compile the recording first
    threads: PositiveInt  # of PyTorch, in each operation; other numbers round differently
    warn_collapse: bool  # warn once if nearly all held-out images are given the same count


@strict
class WandbConfig:
    """Weights & Biases, online or offline."""

    kind: Literal["wandb"]
    mode: Literal["auto", "online", "offline", "disabled"]
    project: str
    entity: str | None
    run_name: str | None
    group: str | None
    job_type: str | None
    tags: list[str]
    notes: str | None


@strict
class TrackioConfig:
    """Trackio, on this machine."""

    kind: Literal["trackio"]
    project: Annotated[str, Field(pattern=r"^[\w-]+$")]  # Trackio leaves other characters out
    run_name: str
    group: str | None
    folder: GivenPath  # of the database; the environment variable TRACKIO_DIR comes first


@strict
class NoTrackingConfig:
    """Only `metrics.jsonl` and the console."""

    kind: Literal["none"]


TrackingConfig = WandbConfig | TrackioConfig | NoTrackingConfig


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
