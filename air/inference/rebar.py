"""The score function less a relaxed control variate."""

from __future__ import annotations

from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor

from air.inference.estimator import Estimate, Program, SurrogateELBO, elbo_and
from air.inference.relaxed import presence_terms
from air.model.full_path import full_path


class RebarELBO(SurrogateELBO):
    """REBAR (Tucker et al., 2017): unbiased, with the relaxation as a control variate.

    Along the path on which every object is present, z_t = log odds + logistic noise, b_t is 1 where
    it is above 0, and z̃_t is drawn as z_t given b_t. With r(b) the likelihood less the KL
    divergences of the objects that b has, and r(z) short for r(σ(z / temperature)),

        ∂E[r(b)] = E[(r(b) - r(z̃)) ∂ log q(b) + ∂r(b) + ∂r(z) - ∂r(z̃)],

    where the last two have the same mean as what the first lost. The KL divergence of the count is
    exact. The temperature is fixed, not learned.

    Args:
        temperature: of the relaxation.
    """

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature

    def estimate(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> Estimate:
        """Estimate the ELBO with one draw of the count; see `Estimator`.

        Raises:
            ValueError: the model does not mask the latents of absent objects.
        """
        path = full_path(guide, *args, **kwargs)
        logits = path.presence_logits  # (N, T)
        z = logits + uniform_like(logits).logit()
        b = (z > 0).to(z.dtype)
        conditional = given(b, logits)
        relaxed = [(each / self.temperature).sigmoid() for each in (z, conditional)]
        presences = torch.stack([b, *relaxed]).cumprod(-1)  # (3, N, T)
        terms = presence_terms(model, path, presences, args, kwargs)
        hard, soft, soft_given = terms.rewards()  # (N,) each
        log_q = dist.Bernoulli(logits=logits, validate_args=False).log_prob(b).sum(-1)
        variate = (hard - soft_given).detach() * log_q + soft - soft_given
        return elbo_and(terms.parts(), (variate * terms.scale).sum(), path)


def given(b: Tensor, logits: Tensor) -> Tensor:
    """Draw z = log odds + logistic noise, given that b = [z > 0], reparameterised."""
    absent = (-logits).sigmoid()
    v = uniform_like(logits)
    u = torch.where(b > 0, absent + v * (1 - absent), v * absent)
    least = torch.finfo(u.dtype).eps
    return logits + u.clamp(least, 1 - least).logit()


def uniform_like(tensor: Tensor) -> Tensor:
    """Draw uniformly between 0 and 1, without either."""
    least = torch.finfo(tensor.dtype).eps
    return torch.rand_like(tensor).clamp(least, 1 - least)
