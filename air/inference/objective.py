"""What a step of training minimises: -ELBO by an estimator, and what else teaches the guide."""

from __future__ import annotations

from torch import Tensor

from air.inference.estimator import PARTS, Estimator
from air.inference.marginal import MarginalELBO
from air.inference.search import CountSearch
from air.inference.sleep import SleepPhase
from air.model.air import AIR


class Objective:
    """An estimator's surrogate loss of a batch, plus that of as many dreams, and of a search.

    Args:
        estimator: of the ELBO and its gradient.
        sleep: the sleep phase, or None for none.
        search: the search for better explanations, or None for none; only for `MarginalELBO`.

    Attributes:
        part_names: what is reported of a batch: the parts of the ELBO, `sleep` and `search` if
            there are any.

    Raises:
        ValueError: another estimator is to search, which has no bound of every count.
    """

    def __init__(
        self,
        estimator: Estimator,
        sleep: SleepPhase | None = None,
        search: CountSearch | None = None,
    ) -> None:
        if search is not None and not isinstance(estimator, MarginalELBO):
            raise ValueError(f"a search needs MarginalELBO, got {type(estimator).__name__}")
        self.estimator = estimator
        self.sleep = sleep
        self.search = search
        names = {"sleep": sleep, "search": search}
        self.part_names = (*PARTS, *(name for name, term in names.items() if term is not None))

    def __call__(
        self, model: AIR, batch: Tensor, trial_probabilities: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the scalar to differentiate, and its parts; both are sums over images, in nats.

        Args:
            model: what is trained.
            batch: (N, x_size, x_size), pixels in [0, 1].
            trial_probabilities: (num_steps,), the prior of z_pres.
        """
        estimator = self.estimator
        loss = estimator.surrogate_loss(
            model.model, model.guide, batch, z_pres_prior_p=lambda t: trial_probabilities[t]
        )
        parts = {name: estimator.parts[name] for name in PARTS}
        if self.sleep is not None:
            # As if there were as many dreams as images, so that the weight has one meaning.
            sleep = self.sleep.surrogate_loss(model, batch) * len(batch)
            loss = loss + self.sleep.weight * sleep
            parts["sleep"] = sleep.detach()
        if self.search is not None:
            assert isinstance(estimator, MarginalELBO)
            found = self.search.surrogate_loss(model, batch, estimator.count_bounds) * len(batch)
            loss = loss + self.search.weight * found
            parts["search"] = found.detach()
        return loss, parts
