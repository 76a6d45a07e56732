"""What AIR is made of: the groups `model`, `attention`, `background`, `compositing`, `likelihood`
and `prior`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from air.errors import ConfigError
from air.fields import (
    Count,
    FlipProbability,
    Layers,
    NonEmptyLayers,
    NonLinearity,
    PositiveInt,
    PositiveReal,
    PositiveRealOrAuto,
    Probability,
    Real,
    strict,
)

if TYPE_CHECKING:
    from torch import Tensor

    from air.model.attention.look import Attention
    from air.model.canvas import Background, Compositing, Likelihood
    from air.model.presence import PresenceSchedule
    from air.model.sizes import Sizes
    from air.model.windows import WherePrior


WINDOW_MARGIN = 1.06  # a window's width over an object's, where `auto` chooses it


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
    scale_prior_mean: PositiveRealOrAuto
    scale_prior_sd: PositiveReal
    pos_prior_mean: Real
    pos_prior_sd: PositiveRealOrAuto
    likelihood_sd: PositiveReal

    def check(self, x_size: int, num_channels: int = 1) -> None:
        """Raise `ConfigError` if no model has these sizes.

        Args:
            x_size: width and height of an image, in pixels.
            num_channels: of an image.
        """
        from air.model.sizes import Sizes

        of_images: dict[str, Any] = {"x_size": x_size, "num_channels": num_channels}
        names = [field.name for field in fields(Sizes) if field.name not in of_images]
        try:
            Sizes(**of_images, **{name: getattr(self, name) for name in names})
        except ValueError as error:
            raise ConfigError(f"model.{error}") from None

    @property
    def automatic(self) -> list[str]:
        """The keys that are still `auto`."""
        return [f"model.{name}" for name, value in vars(self).items() if value == "auto"]

    def fitted(self, x_size: int, object_size: float, spread: float) -> ModelConfig:
        """Return the same with numbers in the place of `auto`.

        A window covers `x_size / s` pixels and is centred at `-(x, y) / s`.

        Args:
            x_size: width and height of an image, in pixels.
            object_size: longer side of a typical object, in pixels.
            spread: standard deviation of objects' centres, in coordinates from -1 to 1.
        """
        scale, sd = self.scale_prior_mean, self.pos_prior_sd
        if scale == "auto":
            scale = _rounded(x_size / (WINDOW_MARGIN * object_size))
        if sd == "auto":
            sd = _rounded(spread * scale)
        return replace(self, scale_prior_mean=scale, pos_prior_sd=sd)

    def arguments(self) -> dict[str, Any]:
        """Return keyword arguments of `AIR`.

        Raises:
            ConfigError: a number is still to be found from training images.
        """
        if self.automatic:
            raise ConfigError(
                f"{self.automatic[0]}: must be a number to build a model from, got 'auto', which "
                "only training images can tell"
            )
        return dict(vars(self))


def _rounded(number: float) -> float:
    """Return a number to the three digits that an estimate is good for."""
    return float(f"{number:.3g}")


# --- the guide's attention ------------------------------------------------------------------------


@strict
class RecurrentConfig:
    """The paper's attention: an LSTM that sees the whole image; `model` has its sizes."""

    kind: Literal["recurrent"]

    def build(self, sizes: Sizes, z_where_prior: WherePrior) -> Attention:
        """Return a new attention."""
        from air.model.attention.recurrent import RecurrentAttention

        return RecurrentAttention(sizes, z_where_prior)


@strict
class DifferenceConfig:
    """The paper's difference AIR: the LSTM sees what the objects so far leave of the image."""

    kind: Literal["difference"]

    def build(self, sizes: Sizes, z_where_prior: WherePrior) -> Attention:
        """Return a new attention."""
        from air.model.attention.difference import DifferenceAttention

        return DifferenceAttention(sizes, z_where_prior)


@strict
class MapConfig:
    """A convolutional map of the image; each step attends to its best place, less what is taken."""

    kind: Literal["map"]
    cell_size: PositiveInt  # pixels, width and height of a place on the map
    channels: NonEmptyLayers  # of the convolutions over the cells, 3 x 3 each
    presence_net: Layers  # hidden layers from a place to z_pres
    inhibition_width: PositiveReal  # of what a window takes at first, in widths of it

    def build(self, sizes: Sizes, z_where_prior: WherePrior) -> Attention:
        """Return a new attention."""
        from air.model.attention.map import MapAttention

        return MapAttention(
            sizes,
            z_where_prior,
            self.cell_size,
            self.channels,
            self.presence_net,
            self.inhibition_width,
        )


AttentionConfig = Annotated[
    RecurrentConfig | DifferenceConfig | MapConfig, Field(discriminator="kind")
]


# --- what lies behind the objects -----------------------------------------------------------------


@strict
class NoBackgroundConfig:
    """Nothing behind the objects: the ground is black."""

    kind: Literal["none"]

    def build(self, sizes: Sizes) -> Background:
        """Return a new background."""
        from air.model.background.none import NoBackground

        return NoBackground()


@strict
class ImageConfig:
    """One learned image behind the objects of every scene, or one colour."""

    kind: Literal["image"]
    plain: bool  # whether it is one colour; if so, it lies behind images of any size

    def build(self, sizes: Sizes) -> Background:
        """Return a new background."""
        from air.model.background.image import ImageBackground

        return ImageBackground(sizes.num_channels, None if self.plain else sizes.x_size)


@strict
class VAEConfig:
    """A background of its own behind each scene, from a short code of the whole image."""

    kind: Literal["vae"]
    z_background_size: PositiveInt
    encoder_net: Layers  # hidden layers from an image to q(z_background)
    decoder_net: Layers  # hidden layers from z_background to the background

    def build(self, sizes: Sizes) -> Background:
        """Return a new background."""
        from air.model.background.vae import VAEBackground
        from air.model.networks import non_linearity_layer

        return VAEBackground(
            sizes.num_channels,
            sizes.x_size,
            self.z_background_size,
            self.encoder_net,
            self.decoder_net,
            non_linearity_layer(sizes.non_linearity),
        )


BackgroundConfig = Annotated[
    NoBackgroundConfig | ImageConfig | VAEConfig, Field(discriminator="kind")
]


# --- how objects make one image -------------------------------------------------------------------


@strict
class SumConfig:
    """Objects add up."""

    kind: Literal["sum"]

    bounded: ClassVar[bool] = False  # whether canvases stay in [0, 1]

    def check(self, decoder_output_use_sigmoid: bool) -> None:
        """Take all decoders."""

    def build(self, sizes: Sizes) -> Compositing:
        """Return a new compositing."""
        from air.model.compositing.sum import Sum

        return Sum(sizes.num_channels)


@strict
class OverConfig:
    """Objects cover one another and the background, the first in front."""

    kind: Literal["over"]

    bounded: ClassVar[bool] = True

    def check(self, decoder_output_use_sigmoid: bool) -> None:
        """Raise `ConfigError` if masks would not be held in (0, 1)."""
        if not decoder_output_use_sigmoid:
            raise ConfigError(
                "model.decoder_output_use_sigmoid: must be true with compositing=over, whose masks "
                "lie in (0, 1), got False"
            )

    def build(self, sizes: Sizes) -> Compositing:
        """Return a new compositing."""
        from air.model.compositing.over import Over

        return Over(sizes.num_channels)


CompositingConfig = Annotated[SumConfig | OverConfig, Field(discriminator="kind")]


# --- what an image is, given the canvas -----------------------------------------------------------


@strict
class NormalConfig:
    """Pixels are normal around the canvas.

    `model.likelihood_sd` is their standard deviation, or what a learned one starts at.
    """

    kind: Literal["normal"]
    sd: Literal["fixed", "learned", "learned_per_channel"]

    def check(self, likelihood_sd: float, compositing: CompositingConfig) -> None:
        """Raise `ConfigError` if a learned standard deviation could not fall to a start so low."""
        from air.model.sizes import check_learned_sd

        if self.sd == "fixed":
            return
        try:
            check_learned_sd("model.likelihood_sd", likelihood_sd)
        except ValueError as error:
            raise ConfigError(str(error)) from None

    def check_images(self, some_images: Callable[[], Tensor]) -> None:
        """Take all images, unseen."""

    def build(self, sizes: Sizes, likelihood_sd: float) -> Likelihood:
        """Return a new likelihood."""
        from air.model.likelihood.normal import LearnedNormalLikelihood, NormalLikelihood

        if self.sd == "fixed":
            return NormalLikelihood(likelihood_sd)
        num_sds = 1 if self.sd == "learned" else sizes.num_channels
        return LearnedNormalLikelihood(likelihood_sd, num_sds)


@strict
class BernoulliConfig:
    """Pixels are black or white; the canvas is the probability of white."""

    kind: Literal["bernoulli"]
    flip_probability: FlipProbability  # that a pixel is the other one

    def check(self, likelihood_sd: float, compositing: CompositingConfig) -> None:
        """Raise `ConfigError` if canvases would be no probabilities."""
        if not compositing.bounded:
            raise ConfigError(
                "compositing: must be 'over' with likelihood=bernoulli, whose canvases are "
                f"probabilities, got {compositing.kind!r}"
            )

    def check_images(self, some_images: Callable[[], Tensor]) -> None:
        """Raise `ConfigError` if images, floats in [0, 1], are not black and white alone."""
        images = some_images()
        between = images[(images > 0) & (images < 1)]
        if len(between):
            raise ConfigError(
                "data: must be images of black and white pixels alone with likelihood=bernoulli, "
                f"got one of {between[0]:.3g}, where 0 is black and 1 white"
            )

    def build(self, sizes: Sizes, likelihood_sd: float) -> Likelihood:
        """Return a new likelihood."""
        from air.model.likelihood.bernoulli import BernoulliLikelihood

        return BernoulliLikelihood(self.flip_probability)


LikelihoodConfig = Annotated[NormalConfig | BernoulliConfig, Field(discriminator="kind")]


# --- the prior on the number of objects -----------------------------------------------------------


@strict
class ConstantPriorConfig:
    """The same presence prior throughout training."""

    kind: Literal["constant"]
    success: Probability  # k of p(n) ∝ kⁿ or, when raw, the trial probability of every step
    raw: bool

    settles_at: ClassVar[int] = 0  # the iteration from which the prior stays as it is
    final_key: ClassVar[str] = "success"  # the field that says what the prior ends with

    def build(self, num_steps: int) -> PresenceSchedule:
        """Return iteration -> (step -> trial probability)."""
        from air.model.count_prior import presence_schedule

        return presence_schedule(lambda iteration: self.success, self.raw, num_steps)


@strict
class AnnealedPriorConfig:
    """A presence prior that moves from `success` to `anneal_to` during training."""

    kind: Literal["linear", "exponential"]
    success: Probability
    raw: bool
    anneal_to: Probability
    anneal_begin: Count  # iterations
    anneal_duration: PositiveInt  # iterations

    final_key: ClassVar[str] = "anneal_to"

    @property
    def settles_at(self) -> int:
        """The iteration from which the prior stays as it is."""
        return self.anneal_begin + self.anneal_duration

    def build(self, num_steps: int) -> PresenceSchedule:
        """Return iteration -> (step -> trial probability)."""
        from air.model.count_prior import annealed, presence_schedule

        return presence_schedule(
            lambda iteration: annealed(
                self.success,
                self.anneal_to,
                (iteration - self.anneal_begin) / self.anneal_duration,
                is_linear=self.kind == "linear",
            ),
            self.raw,
            num_steps,
        )


PriorConfig = Annotated[ConstantPriorConfig | AnnealedPriorConfig, Field(discriminator="kind")]
