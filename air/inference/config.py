"""How AIR learns: the groups `inference`, with `baseline` inside it, and `sleep`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from air.errors import ConfigError
from air.fields import (
    Count,
    Layers,
    PositiveInt,
    PositiveReal,
    PositiveShare,
    Probability,
    Share,
    strict,
)
from air.model.config import ModelConfig

if TYPE_CHECKING:
    from air.inference.estimator import Estimator
    from air.inference.objective import Term


def check_shares(key: str, batch_size: int, num_processes: int) -> None:
    """Raise `ConfigError` if a batch cannot be shared equally among so many processes."""
    if batch_size % num_processes:
        raise ConfigError(
            f"{key}: must be a multiple of the number of processes, {num_processes}, "
            f"got {batch_size}"
        )


# --- terms beside the estimator -------------------------------------------------------------------


@strict
class NoSleepConfig:
    """The ELBO alone."""

    kind: Literal["none"]

    def shared_by(self, num_processes: int) -> NoSleepConfig:
        """Return what each of several processes does."""
        return self

    def build_terms(self) -> list[Term]:
        """Return no terms of the objective."""
        return []


@strict
class DreamsConfig:
    """A sleep phase: the guide also learns from scenes that the model dreams."""

    kind: Literal["dreams"]
    weight: PositiveReal  # of a dream's -log q against an image's -ELBO
    batch_size: PositiveInt  # dreams in a step
    max_objects: PositiveInt | None  # in a dream; null: as many as the model has steps
    codes: Literal["prior", "posterior"]  # whether z_what is that of objects found in the batch
    num_places: PositiveInt  # tried for each object, so that objects do not pile up
    touching: Share  # the share of objects that lie beside another one of the dream
    noise: bool  # whether dreams have pixel noise, as large as that of the batch's backgrounds

    def shared_by(self, num_processes: int) -> DreamsConfig:
        """Return what each of several processes does, which together dream as configured.

        Raises:
            ConfigError: dreams cannot be shared equally among so many.
        """
        check_shares("sleep.batch_size", self.batch_size, num_processes)
        share = self.batch_size // num_processes
        return replace(self, batch_size=share)

    def build_terms(self) -> list[Term]:
        """Return the terms of the objective."""
        from air.inference.sleep import SleepPhase

        return [
            SleepPhase(
                self.weight,
                self.batch_size,
                self.max_objects,
                self.codes,
                self.num_places,
                self.touching,
                self.noise,
            )
        ]


SleepConfig = Annotated[NoSleepConfig | DreamsConfig, Field(discriminator="kind")]


# --- baselines of score functions -----------------------------------------------------------------


@strict
class NoBaselineConfig:
    """The plain score-function estimator."""

    kind: Literal["none"]

    recordable: ClassVar[bool] = True  # whether a step with it can be

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of `AIR`."""
        return {"use_baselines": False}


@strict
class NeuralBaselineConfig:
    """A network that predicts the learning signal from the image and the latents so far."""

    kind: Literal["neural"]
    net: Layers
    scalar: PositiveReal | None  # multiplies the network's output

    recordable: ClassVar[bool] = True

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of `AIR`."""
        return {
            "use_baselines": True,
            "bl_predict_net": self.net,
            "baseline_scalar": self.scalar,
        }


@strict
class MovingAverageBaselineConfig:
    """Pyro's decaying average of past learning signals."""

    kind: Literal["moving_average"]
    decay: Probability

    recordable: ClassVar[bool] = False  # Pyro keeps the average where no recording can follow

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of `AIR`."""
        return {"use_baselines": True, "baseline_decay": self.decay}


BaselineConfig = Annotated[
    NeuralBaselineConfig | MovingAverageBaselineConfig | NoBaselineConfig,
    Field(discriminator="kind"),
]


# --- estimators -----------------------------------------------------------------------------------


@strict
class EstimatorConfig:
    """What every option of `inference` has; an estimator narrows what has no meaning for it."""

    kind: str
    baseline: BaselineConfig
    warm_up_start: PositiveShare  # weight of all but the likelihood at first
    warm_up_iterations: Count  # in which it rises to 1; 0: it is 1 throughout

    # Whether absent objects must leave the objective, as where the count is not drawn.
    masked_only: ClassVar[bool] = True

    def scheduled(self, iteration: int) -> dict[str, float]:
        """Return what changes from iteration to iteration, always of the same names.

        `rest_weight`, of all but the likelihood, is left out where it is always 1. All other names
        are arguments of the estimator's `at`.
        """
        if self.warm_up_iterations == 0:
            return {}
        from air.model.count_prior import annealed

        share = iteration / self.warm_up_iterations
        return {"rest_weight": annealed(self.warm_up_start, 1.0, share, is_linear=True)}

    @property
    def remarks(self) -> list[str]:
        """What a user of these settings should know before training, a line each."""
        return []

    @property
    def advice(self) -> list[str]:
        """What to try where counts collapse."""
        return []

    def check(self, model: ModelConfig) -> None:
        """Raise `ConfigError` if the estimator is not defined for a model."""
        if self.masked_only and not model.use_masking:
            raise ConfigError(
                f"model.use_masking: must be true with inference={self.kind}, which is defined for "
                "the masked objective only, got False; inference=reinforce trains without masking"
            )

    def build(self) -> Estimator:
        """Return a new estimator."""
        raise NotImplementedError


@strict
class MarginalConfig(EstimatorConfig):
    """The number of objects is summed out exactly: no score function, so no baseline."""

    kind: Literal["marginal"]
    baseline: NoBaselineConfig

    def build(self) -> Estimator:
        """Return a new estimator."""
        from air.inference.marginal import MarginalELBO

        return MarginalELBO()


@strict
class ReinforceConfig(EstimatorConfig):
    """The paper's score-function gradient for z_pres."""

    kind: Literal["reinforce"]

    masked_only: ClassVar[bool] = False

    @property
    def remarks(self) -> list[str]:
        """What a user of these settings should know before training."""
        if self.baseline.kind != "none":
            return []
        return ["inference=reinforce without a baseline is very noisy; try baseline=neural"]

    @property
    def advice(self) -> list[str]:
        """What to try where counts collapse."""
        return ["inference=marginal (reinforce learns nothing for a long time)"]

    def build(self) -> Estimator:
        """Return a new estimator."""
        from air.inference.reinforce import ReinforceELBO

        return ReinforceELBO()


@strict
class IWAEConfig(EstimatorConfig):
    """The importance-weighted bound of several paths, with the count summed out of each."""

    kind: Literal["iwae"]
    baseline: NoBaselineConfig
    num_particles: PositiveInt

    def build(self) -> Estimator:
        """Return a new estimator."""
        from air.inference.iwae import ImportanceWeightedELBO

        return ImportanceWeightedELBO(self.num_particles)


@strict
class DReGConfig(EstimatorConfig):
    """The same bound, with a doubly reparameterised gradient."""

    kind: Literal["dreg"]
    baseline: NoBaselineConfig
    num_particles: PositiveInt

    def build(self) -> Estimator:
        """Return a new estimator."""
        from air.inference.dreg import DoublyReparameterizedELBO

        return DoublyReparameterizedELBO(self.num_particles)


@strict
class VIMCOConfig(EstimatorConfig):
    """The importance-weighted bound with drawn counts, each particle a baseline of the others."""

    kind: Literal["vimco"]
    baseline: NoBaselineConfig
    num_particles: Annotated[int, Field(ge=2)]

    masked_only: ClassVar[bool] = False

    def build(self) -> Estimator:
        """Return a new estimator."""
        from air.inference.vimco import VIMCO

        return VIMCO(self.num_particles)


@strict
class RWSConfig(EstimatorConfig):
    """Reweighted wake-sleep: wake-theta for the model, wake-phi and sleep-phi for the guide."""

    kind: Literal["rws"]
    baseline: NoBaselineConfig
    num_particles: PositiveInt
    wake_share: Share  # of wake-phi in what the guide follows; the rest is of sleep-phi

    masked_only: ClassVar[bool] = False

    def build(self) -> Estimator:
        """Return a new estimator."""
        from air.inference.rws import ReweightedWakeSleep

        return ReweightedWakeSleep(self.num_particles, self.wake_share)


@strict
class RelaxedConfig(EstimatorConfig):
    """Presences between 0 and 1, from the Concrete distribution: no bound."""

    kind: Literal["relaxed"]
    baseline: NoBaselineConfig
    temperature_start: PositiveReal
    temperature_end: PositiveReal
    temperature_iterations: Count  # in which it falls from one to the other, by equal factors
    straight_through: bool  # presences of 0 or 1, with the gradient of those in between

    def scheduled(self, iteration: int) -> dict[str, float]:
        """Return the temperature too; see `EstimatorConfig`."""
        from air.model.count_prior import annealed

        share = iteration / self.temperature_iterations if self.temperature_iterations else 1.0
        start, end = self.temperature_start, self.temperature_end
        temperature = annealed(start, end, share, is_linear=False)
        return {**super().scheduled(iteration), "temperature": temperature}

    def build(self) -> Estimator:
        """Return a new estimator."""
        from air.inference.relaxed import RelaxedELBO

        return RelaxedELBO(self.temperature_start, self.straight_through)


@strict
class RebarConfig(EstimatorConfig):
    """The score function less a relaxed control variate."""

    kind: Literal["rebar"]
    baseline: NoBaselineConfig
    temperature: PositiveReal

    def build(self) -> Estimator:
        """Return a new estimator."""
        from air.inference.rebar import RebarELBO

        return RebarELBO(self.temperature)


@strict
class MVDConfig(EstimatorConfig):
    """Measure-valued derivatives of z_pres."""

    kind: Literal["mvd"]
    baseline: NoBaselineConfig

    def build(self) -> Estimator:
        """Return a new estimator."""
        from air.inference.mvd import MeasureValuedELBO

        return MeasureValuedELBO()


InferenceConfig = Annotated[
    MarginalConfig
    | ReinforceConfig
    | IWAEConfig
    | DReGConfig
    | VIMCOConfig
    | RWSConfig
    | RelaxedConfig
    | RebarConfig
    | MVDConfig,
    Field(discriminator="kind"),
]
