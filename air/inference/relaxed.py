"""Presences between 0 and 1: reparameterised, and so with a bias."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pyro.distributions as dist
import torch
from pyro import poutine
from torch import Tensor
from torch.distributions import kl_divergence

from air.inference.counts import check_masked
from air.inference.estimator import Estimate, Estimator, Program, SurrogateELBO, elbo_of, kl_name
from air.model.full_path import FullPath, count_log_probs, full_path
from air.model.sites import OBS, Z_PRES, Z_WHAT, Z_WHERE, at_step, latent_of, step_of


class RelaxedELBO(SurrogateELBO):
    """The Concrete relaxation of z_pres (Maddison et al., 2017; Jang et al., 2017).

    Along the path on which every object is present, b_t of each step is drawn from the Concrete
    distribution with the odds of z_pres_t, and an object's presence is Π_{s<=t} b_s: the t-th is
    there to that extent in the image, and its KL divergences count to that extent. That of the
    count is exact. What is maximised is no bound on log p(x), as presences between 0 and 1 are not
    the model's, and at a low temperature it has the ELBO's value in the mean, but a noisy gradient.

    Args:
        temperature: of the Concrete distribution; a schedule may give another one, by `at`.
        straight_through: draw presences of 0 or 1, with the gradient of those in between: the value
            is that of the ELBO in the mean then, and it is the gradient that has a bias.
    """

    def __init__(self, temperature: float | Tensor, straight_through: bool = False) -> None:
        super().__init__()
        self.temperature = temperature
        self.straight_through = straight_through

    def at(self, **scheduled: Tensor) -> Estimator:
        """Return the same at another `temperature`."""
        return RelaxedELBO(scheduled["temperature"], self.straight_through)

    def estimate(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> Estimate:
        """Return what is minimised, its own surrogate; see `Estimator`.

        Raises:
            ValueError: the model does not mask the latents of absent objects.
        """
        path = full_path(guide, *args, **kwargs)
        concrete = (
            dist.RelaxedBernoulliStraightThrough if self.straight_through else dist.RelaxedBernoulli
        )
        temperature = torch.as_tensor(self.temperature)
        steps = concrete(temperature, logits=path.presence_logits, validate_args=False).rsample()
        terms = presence_terms(model, path, steps.cumprod(-1).unsqueeze(0), args, kwargs)
        parts = terms.parts()
        metrics = {name: part.detach() for name, part in parts.items()}
        objective = elbo_of(parts)
        return Estimate(-objective, {"relaxed": objective.detach(), **metrics}, path)


class PresenceTerms(NamedTuple):
    """What the model says of several presences of the objects of one path."""

    log_likelihood: Tensor  # (M, N)
    kl: dict[str, Tensor]  # by name, (M, N) each, to the extent to which objects are present
    kl_pres: Tensor  # (N,) of the count
    scale: float | Tensor  # of the plate's subsample
    kl_scale: float | Tensor  # the same of latents, which a handler may have changed

    def rewards(self) -> Tensor:
        """Return all but the KL divergence of the count, (M, N)."""
        return self.log_likelihood - self.kl_scale / self.scale * sum(self.kl.values())

    def parts(self) -> dict[str, Tensor]:
        """Return the parts of the objective with the first presences, summed over images."""
        kl = {name: value[0].sum() * self.kl_scale for name, value in self.kl.items()}
        return {
            "likelihood": self.log_likelihood[0].sum() * self.scale,
            kl_name(Z_PRES): self.kl_pres.sum() * self.kl_scale,
            **kl,
        }


def presence_terms(
    model: Program,
    path: FullPath,
    presences: Tensor,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> PresenceTerms:
    """Run the model with the objects of a path present to some extent.

    Args:
        model: a program with the sites of AIR's, with masking.
        path: of the guide, called with the same arguments.
        presences: (M, N, T), in [0, 1], never rising with t.
        args: the programs' arguments.
        kwargs: their keyword arguments.

    Raises:
        ValueError: the model does not mask the latents of absent objects.
    """
    least = torch.finfo(presences.dtype).tiny  # or else the model would mask absent objects
    data = {
        at_step(Z_PRES, t): presence.unsqueeze(-1) + least
        for t, presence in enumerate(presences.unbind(-1))
    }
    replayed = poutine.replay(poutine.condition(model, data=data), trace=path.trace)
    sites: Any = poutine.trace(replayed).get_trace(*args, **kwargs).nodes
    kl: dict[str, Any] = {kl_name(Z_WHERE): 0.0, kl_name(Z_WHAT): 0.0}
    for name, q in path.q.items():
        prior, t = sites[name]["fn"], step_of(name)
        extent = torch.ones_like(presences[..., 0])  # (M, N)
        if t is not None:
            check_masked(name, q, prior)
            extent = presences[..., t]
        of = kl_name(latent_of(name) or name)
        kl[of] = kl.get(of, 0.0) + extent * kl_divergence(q, prior)
    priors = [sites[name]["fn"].base_dist.logits.expand_as(data[name]) for name in data]
    log_prior = count_log_probs(torch.cat(priors, -1)[0])  # (N, T + 1)
    log_q = path.count_log_probs()
    return PresenceTerms(
        log_likelihood=sites[OBS]["fn"].log_prob(sites[OBS]["value"]),
        kl=kl,
        kl_pres=(log_q.exp() * (log_q - log_prior)).sum(-1),
        scale=sites[OBS]["scale"],
        kl_scale=sites[at_step(Z_PRES, 0)]["scale"],
    )
