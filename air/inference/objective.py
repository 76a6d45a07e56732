"""What a step of training minimises: an estimate of -ELBO, and terms that teach the guide."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, Protocol

from pyro.poutine.messenger import Messenger
from torch import Tensor

from air.inference.estimator import Estimate, Estimator, Scheduled
from air.model.air import AIR
from air.model.full_path import FullPath
from air.model.sites import latent_of


class Term(Protocol):
    """What is minimised beside -ELBO.

    Attributes:
        name: of its metric.
        weight: against -ELBO, an image each.
    """

    name: str
    weight: float

    def __call__(self, air: AIR, images: Tensor, path: FullPath | None = None) -> Tensor:
        """Return the term, a scalar to differentiate, in nats, a mean over its own examples.

        Args:
            air: what is trained.
            images: (N, x_size, x_size) or (N, x_size, x_size, 3), in [0, 1].
            path: the guide's on these images, where the estimator took it.
        """
        ...


class WeightedKL(Messenger):
    """Lets the latents' log probabilities, under the guide and under the model, count less.

    Args:
        weight: a scalar.
    """

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = weight

    def _pyro_sample(self, message: Any) -> None:
        if latent_of(message["name"]) is not None:
            message["scale"] = message["scale"] * self.weight


class Objective:
    """The estimator's loss of a batch, plus each term as if it had as many examples as images.

    Args:
        estimator: of the ELBO and its gradient.
        terms: what else is minimised, in this order.
        scheduled: names of what changes from iteration to iteration: `rest_weight`, of all but the
            likelihood, and arguments of the estimator's `at`.
    """

    def __init__(
        self, estimator: Estimator, terms: Sequence[Term] = (), scheduled: Sequence[str] = ()
    ) -> None:
        self.estimator = estimator
        self.terms = terms
        self.scheduled = scheduled

    def __call__(
        self, air: AIR, batch: Tensor, trial_probabilities: Tensor, *scheduled: Tensor
    ) -> Estimate:
        """Return what is minimised; "loss" is among its metrics, and each term by its name.

        Args:
            air: what is trained.
            batch: (N, x_size, x_size) or (N, x_size, x_size, 3), in [0, 1].
            trial_probabilities: (num_steps,), the prior of z_pres.
            *scheduled: the values of those names now, a scalar each. With a `rest_weight`, metrics
                of the ELBO are those of the weighted sum that is maximised, which is no bound.
        """
        now = dict(zip(self.scheduled, scheduled, strict=True))
        rest_weight = now.pop("rest_weight", None)
        estimator = self.estimator
        if now:
            assert isinstance(estimator, Scheduled)
            estimator = estimator.at(**now)
        with WeightedKL(rest_weight) if rest_weight is not None else nullcontext():
            estimate = estimator.estimate(
                air.model, air.guide, batch, z_pres_prior_p=lambda t: trial_probabilities[t]
            )
        loss, metrics = estimate.loss, dict(estimate.metrics)
        for term in self.terms:
            value = term(air, batch, estimate.path) * len(batch)
            weight = term.weight if rest_weight is None else rest_weight * term.weight
            loss = loss + weight * value
            metrics[term.name] = value.detach()
        metrics.pop("loss", None)  # of the estimator alone
        return Estimate(loss, {"loss": loss.detach(), **metrics}, estimate.path)
