"""Mean, variance and time of estimators' gradients at fixed parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyro
import torch
from torch import Tensor
from tqdm import tqdm

from air.benchmark.config import GradientsConfig
from air.benchmark.timing import interleaved
from air.config.schema import Config
from air.data.scenes import Scenes
from air.inference.objective import Objective
from air.model.air import AIR
from air.model.images import to_unit
from air.model.presence import PresencePrior
from air.training.gradients import build_gradients, objective_settings

_ROUNDS = 20  # in which each is timed


@dataclass(frozen=True)
class Parameters:
    """A model at some point of its training.

    Attributes:
        where: in words.
        iteration: of its training.
        config: of its run.
        air: the model, on its device.
        scenes: held-out ones.
    """

    where: str
    iteration: int
    config: Config
    air: AIR
    scenes: Scenes

    @property
    def attention(self) -> str:
        """The kind of its attention."""
        return self.config.attention.kind

    def batch(self, num_images: int) -> Tensor:
        """Return the first held-out images, floats on the model's device."""
        return to_unit(self.scenes.images[:num_images], self.air.device, self.air.dtype)

    def prior(self) -> PresencePrior:
        """Return the prior of z_pres at this iteration: step -> trial probability."""
        return self.config.prior.build(self.air.num_steps)(self.iteration)


@dataclass(frozen=True)
class NoiseRow:
    """The gradient of one batch, by one estimator; distances are against the ELBO's gradient.

    Attributes:
        at: which parameters.
        iteration: of their training.
        estimator: its name.
        objective: whose value it has: elbo, another bound, or relaxed, which is none.
        milliseconds: of a gradient, the median, estimators taking turns.
        guide_off: how far the mean is from the ELBO's gradient, in the guide's parameters: the bias
            of an estimator of the ELBO, the difference of another objective; 0 where it is less
            than the noise of the means.
        guide_error: that noise: what a bias must exceed to be seen, and the most that the standard
            error of the distance can be.
        guide_variance: of one gradient around its mean, over all of the guide's parameters, against
            the squared length of what it estimates: of the ELBO's gradient, or else of that mean.
        model_off, model_error, model_variance: the same of the model's parameters.
        seconds: of averaging until the guide's variance is 1: time times variance.
    """

    at: str
    iteration: int
    estimator: str
    objective: str
    milliseconds: float
    guide_off: float
    guide_error: float
    guide_variance: float
    model_off: float
    model_error: float
    model_variance: float
    seconds: float


def measure_noise(
    parameters: Parameters,
    exact: Config,
    estimators: Mapping[str, Config],
    config: GradientsConfig,
) -> Iterator[NoiseRow]:
    """Compare estimators at the same parameters, on the same images.

    Args:
        parameters: of the model.
        exact: a run with the estimator that all are compared with.
        estimators: a run for each, by name.
        config: how much is drawn.
    """
    batch = parameters.batch(config.num_images)
    candidates = {
        name: Candidate(parameters, run, batch, config) for name, run in estimators.items()
    }
    times = interleaved({name: each.once for name, each in candidates.items()}, _ROUNDS)
    reference = Candidate(parameters, exact, batch, config).moments(config.num_draws, config.seed)
    parts = _parts(parameters.air)
    for name, candidate in candidates.items():
        # Draws of its own: `marginal` itself is compared with other draws of it.
        found = candidate.moments(config.num_draws, config.seed + 1)
        of_elbo = candidate.objective == "elbo"
        guide, model = (
            _against(found, reference, parts[part], of_elbo, config.num_draws)
            for part in ("guide", "model")
        )
        seconds = times[name].median
        yield NoiseRow(
            at=parameters.where,
            iteration=parameters.iteration,
            estimator=name,
            objective=candidate.objective,
            milliseconds=1e3 * seconds,
            guide_off=guide.off,
            guide_error=guide.error,
            guide_variance=guide.variance,
            model_off=model.off,
            model_error=model.error,
            model_variance=model.variance,
            seconds=seconds * guide.variance,
        )


@dataclass(frozen=True)
class Moments:
    """Of draws of a gradient, all parameters in a row, float64."""

    mean: Tensor
    variance: Tensor


@dataclass(frozen=True)
class _Against:
    off: float
    error: float
    variance: float


def _against(
    found: Moments, reference: Moments, chosen: Tensor, of_elbo: bool, num_draws: int
) -> _Against:
    """Compare in some of the parameters, a mask."""
    length = reference.mean[chosen].norm() ** 2
    variance, of_reference = (each.variance[chosen].sum() for each in (found, reference))
    # What is left of a squared distance once the noise of the means is taken off.
    noise = (variance + of_reference) / num_draws
    distance = ((found.mean - reference.mean)[chosen].norm() ** 2 - noise).clamp(min=0)
    own = length if of_elbo else found.mean[chosen].norm() ** 2 - variance / num_draws
    return _Against(
        off=(distance / length).sqrt().item(),
        error=(noise / length).sqrt().item(),
        variance=(variance / own.clamp(min=torch.finfo(own.dtype).tiny)).item(),
    )


class Candidate:
    """An estimator's gradient of one batch, with the store that Pyro keeps of its model.

    Args:
        parameters: of the model.
        run: with the estimator and, where it has one, its baseline, which is fitted anew: what the
            model's own run has trained may be another one, or none. (A moving average is one of
            the batch's own images then, as the batch stays the same.)
        batch: (N, x_size, x_size) or (N, x_size, x_size, 3), in [0, 1].
        config: how the baseline is fitted.
    """

    def __init__(
        self, parameters: Parameters, run: Config, batch: Tensor, config: GradientsConfig
    ) -> None:
        self.air = parameters.air
        has_baseline = run.inference.baseline.kind != "none"
        if has_baseline:
            pyro.set_rng_seed(config.seed)
            self.air = run.build_model(self.air.x_size, self.air.num_channels)
            state = parameters.air.state_dict()
            others = {name: value for name, value in state.items() if not _of_baseline(name)}
            self.air.load_state_dict(others, strict=False)
            self.air.to(parameters.air.device, parameters.air.dtype)
        iteration = parameters.iteration
        self._settings = objective_settings(run, parameters.prior(), self.air, iteration)
        self._batch = batch
        scheduled = list(run.inference.scheduled(iteration))
        objective = Objective(run.inference.build(), scheduled=scheduled)
        self._gradients = build_gradients(run, objective, self.air, batch)
        with pyro.get_param_store().scope() as self._own:
            pass
        if has_baseline:
            self._fit_baseline(parameters.scenes, run, config)
        self.objective = list(self.once())[1]  # behind the loss

    def once(self) -> dict[str, Tensor]:
        """Set the gradients of the batch; return the metrics."""
        return self._of(self._batch)

    def _of(self, batch: Tensor) -> dict[str, Tensor]:
        with pyro.get_param_store().scope(self._own):
            return self._gradients(batch, *self._settings)

    def moments(self, num_draws: int, seed: int) -> Moments:
        """Draw gradients of the batch."""
        torch.manual_seed(seed)
        total: Any = 0.0
        squares: Any = 0.0
        for _ in tqdm(range(num_draws), desc="gradients", leave=False):
            self.once()
            gradient = torch.cat([_gradient(p) for _, p in counted(self.air)]).double()
            total, squares = total + gradient, squares + gradient**2
        mean = total / num_draws
        variance = (squares / num_draws - mean**2).clamp(min=0) * num_draws / (num_draws - 1)
        return Moments(mean, variance)

    def _fit_baseline(self, scenes: Scenes, run: Config, config: GradientsConfig) -> None:
        """Train what the baseline has to learn."""
        learned = list(self.air.guide.baseline.parameters())
        optimizer = torch.optim.Adam(learned, lr=run.optim.baseline_lr) if learned else None
        for _ in tqdm(range(config.baseline_iterations), desc="baseline", leave=False):
            chosen = torch.randint(len(scenes), (len(self._batch),))
            self._of(to_unit(scenes.images[chosen], self.air.device, self.air.dtype))
            if optimizer is not None:
                optimizer.step()


def counted(air: AIR) -> list[tuple[str, Tensor]]:
    """Return the parameters that are compared, with their names: all but a baseline's."""
    return [(name, value) for name, value in air.named_parameters() if not _of_baseline(name)]


def _of_baseline(name: str) -> bool:
    return name.startswith("guide.baseline.")


def _gradient(parameter: Tensor) -> Tensor:
    gradient = parameter.grad
    return torch.zeros_like(parameter).flatten() if gradient is None else gradient.flatten()


def _parts(air: AIR) -> dict[str, Tensor]:
    """Return which of the numbers in a row are the guide's, and which the model's."""
    # What encodes a background is the guide's, though the two programs share the module.
    prefixes = ("guide.", "model.canvas.background.encode.")
    of_guide = [torch.full((p.numel(),), name.startswith(prefixes)) for name, p in counted(air)]
    guide = torch.cat(of_guide).to(air.device)
    return {"guide": guide, "model": ~guide}
