"""Measure-valued derivatives of z_pres."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from air.inference.counts import count_terms
from air.inference.estimator import Estimate, Program, SurrogateELBO, elbo_and
from air.model.full_path import full_path


class MeasureValuedELBO(SurrogateELBO):
    """The derivative of a draw's probability is the difference of two draws.

    With r the likelihood less the KL divergences of a count's objects, b_t ~ Bernoulli(π_t) along
    the path on which every object is present, and the others as drawn,

        ∂E[r] / ∂π_t = E[r(b_t = 1) - r(b_t = 0)]

    (Mohamed et al., 2020, section 6; for AIR by Becker et al., 2024). A draw has such a pair for
    every step that it reaches, and pairs share their draws. The KL divergence of the count is
    exact. Which counts will be asked for is not known before, so the model says what it makes of
    all of them, and this costs as much as `MarginalELBO`, which has their exact mean.
    """

    def __init__(self) -> None:
        super().__init__()

    def estimate(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> Estimate:
        """Estimate the ELBO with one draw of the count; see `Estimator`.

        Raises:
            ValueError: the model does not mask the latents of absent objects.
        """
        path = full_path(guide, *args, **kwargs)
        terms = count_terms(model, path, args, kwargs)
        pi = path.presence_logits.sigmoid()  # (N, T)
        b = torch.bernoulli(pi.detach()) > 0
        count = b.long().cumprod(-1).sum(-1)  # (N,)
        parts, rewards = terms.drawn_parts(count), terms.rewards()  # (T + 1, N)
        without, with_it = rewards[:-1], rewards.gather(0, counts_with_each(b).mT)  # (T, N) each
        reached = torch.arange(pi.shape[-1], device=pi.device).unsqueeze(-1) <= count
        slopes = torch.where(reached, with_it - without, 0.0).detach()
        return elbo_and(parts, (slopes * pi.mT).sum() * terms.scale, path)


def counts_with_each(b: Tensor) -> Tensor:
    """Return the count if b_t were 1 and all steps before it, for each t: (N, T) both."""
    counts: list[Tensor] = []
    following = torch.zeros_like(b[:, 0], dtype=torch.long)  # that are there, one after the other
    for t in reversed(range(b.shape[-1])):
        counts.append(t + 1 + following)
        following = torch.where(b[:, t], following + 1, 0)
    return torch.stack(counts[::-1], -1)
