"""What AIR is made of: the groups `model` and `prior`."""

from __future__ import annotations

from typing import Literal

from air.fields import (
    Count,
    Layers,
    NonEmptyLayers,
    NonLinearity,
    PositiveInt,
    PositiveReal,
    Probability,
    Real,
    strict,
)


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
