"""What a step of training minimises: an estimate of -ELBO, and terms that teach the guide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from air.inference.estimator import Estimate, Estimator
from air.model.air import AIR
from air.model.full_path import FullPath


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
            images: (N, x_size, x_size), pixels in [0, 1].
            path: the guide's on these images, where the estimator took it.
        """
        ...


class Objective:
    """The estimator's loss of a batch, plus each term as if it had as many examples as images.

    Args:
        estimator: of the ELBO and its gradient.
        terms: what else is minimised, in this order.
    """

    def __init__(self, estimator: Estimator, terms: Sequence[Term] = ()) -> None:
        self.estimator = estimator
        self.terms = terms

    def __call__(self, air: AIR, batch: Tensor, trial_probabilities: Tensor) -> Estimate:
        """Return what is minimised; "loss" is among its metrics, and each term by its name.

        Args:
            air: what is trained.
            batch: (N, x_size, x_size), pixels in [0, 1].
            trial_probabilities: (num_steps,), the prior of z_pres.
        """
        estimate = self.estimator.estimate(
            air.model, air.guide, batch, z_pres_prior_p=lambda t: trial_probabilities[t]
        )
        loss, metrics = estimate.loss, dict(estimate.metrics)
        for term in self.terms:
            value = term(air, batch, estimate.path) * len(batch)
            loss = loss + term.weight * value
            metrics[term.name] = value.detach()
        metrics.pop("loss", None)  # of the estimator alone
        return Estimate(loss, {"loss": loss.detach(), **metrics}, estimate.path)
