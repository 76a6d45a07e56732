"""What a step of training minimises: -ELBO by an estimator, and perhaps a sleep phase."""

from __future__ import annotations

from torch import Tensor

from air.inference.estimator import PARTS, Estimator
from air.inference.sleep import SleepPhase
from air.model import AIR


class Objective:
    """An estimator's surrogate loss of a batch, plus that of as many dreams.

    Args:
        estimator: of the ELBO and its gradient.
        sleep: the sleep phase, or None for none.

    Attributes:
        part_names: what is reported of a batch: the parts of the ELBO, and `sleep` if there is one.
    """

    def __init__(self, estimator: Estimator, sleep: SleepPhase | None = None) -> None:
        self.estimator = estimator
        self.sleep = sleep
        self.part_names = PARTS if sleep is None else (*PARTS, "sleep")

    def __call__(
        self, model: AIR, batch: Tensor, trial_probabilities: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the scalar to differentiate, and its parts; both are sums over images, in nats.

        Args:
            model: what is trained.
            batch: (N, x_size, x_size), pixels in [0, 1].
            trial_probabilities: (num_steps,), the prior of z_pres.
        """
        loss = self.estimator.surrogate_loss(
            model.model, model.guide, batch, z_pres_prior_p=lambda t: trial_probabilities[t]
        )
        parts = {name: self.estimator.parts[name] for name in PARTS}
        if self.sleep is not None:
            # As if there were as many dreams as images, so that the weight has one meaning.
            sleep = self.sleep.surrogate_loss(model, batch) * len(batch)
            loss = loss + self.sleep.weight * sleep
            parts["sleep"] = sleep.detach()
        return loss, parts
