"""The distribution of z_pres, shared by model and guide."""

from __future__ import annotations

from collections.abc import Callable

import pyro.distributions as dist
import torch
from torch import Tensor

PresencePrior = Callable[[int], float | Tensor]  # step -> trial probability of its object
PresenceSchedule = Callable[[int], PresencePrior]  # iteration -> the prior then

# Once an object is absent, all later ones are. sigmoid(-1000) is exactly 0 in single and double
# precision, and so are log(1 - sigmoid(-1000)) and its gradient.
ABSENT_LOGIT = -1000.0


def default_z_pres_prior_p(t: int) -> float:
    """Return Pyro's default trial probability of the t-th object."""
    return 0.5


def presence(logit: Tensor, previous_z_pres: Tensor) -> dist.Independent:
    """Return the distribution of z_pres, which stays 0 once it is 0.

    Args:
        logit: log odds of an object after a present one, broadcastable to (..., N, 1).
        previous_z_pres: (..., N, 1), of the step before; (1, 1) and 1 before the first.
    """
    logits = torch.where(previous_z_pres > 0, logit.to(previous_z_pres), ABSENT_LOGIT)
    return dist.Bernoulli(logits=logits, validate_args=False).to_event(1)


def prior_logit(probability: float | Tensor) -> Tensor:
    """Return the log odds in double precision, so that priors near 0 and 1 survive."""
    p = torch.as_tensor(probability, dtype=torch.float64)
    return p.logit().clamp(ABSENT_LOGIT, -ABSENT_LOGIT)
