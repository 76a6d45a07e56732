"""The ELBO with the number of objects summed out exactly."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from pyro import poutine
from torch import Tensor
from torch.distributions import kl_divergence

from air.inference.estimator import (
    Estimate,
    Program,
    SurrogateELBO,
    elbo_metrics,
    elbo_of,
    kl_name,
)
from air.model.full_path import FullPath, full_path
from air.model.sites import OBS, Z_PRES, Z_WHAT, Z_WHERE, at_step, latent_of


class MarginalELBO(SurrogateELBO):
    """Exact marginalisation of z_pres; everything else is reparameterised.

    z_pres is a staircase: a draw of it is a count n in 0…T, and steps after the n-th do not matter.
    So the guide runs once with every z_pres at 1, which gives samples of z_where and z_what and the
    presence probabilities π_t along that path, and the model runs once on all T + 1 staircases, in
    a new leftmost dimension. With q(n) = (1 - π_n) Π_{t<n} π_t (no first factor at n = T),

        ELBO = E_{z_where, z_what} Σ_n q(n) [log p(x | n) + log p(n) - log q(n) - Σ_{t<n} KL_t].

    There is no score-function term, no baseline and no further pass of any network. It is the
    conditional expectation of what `TraceGraph_ELBO` estimates, and defined for the masked
    objective only: without masking, steps after the last object would enter along another path.
    """

    def estimate(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> Estimate:
        """Return -ELBO, its own surrogate; see `Estimator`.

        Raises:
            ValueError: the model does not mask the latents of absent objects.
        """
        terms = count_terms(model, guide, *args, **kwargs)
        parts = terms.expected_parts()
        return Estimate(-elbo_of(parts), elbo_metrics(parts), terms.path)


class CountTerms(NamedTuple):
    """The terms of the ELBO for each count n; T = num_steps."""

    log_likelihood: Tensor  # (T + 1, N)
    log_prior: Tensor  # (T + 1, N) log p(n)
    log_q: Tensor  # (T + 1, N) log q(n)
    kl: dict[str, Tensor]  # by name, (T + 1, N) each
    scale: float | Tensor  # of the plate's subsample
    kl_scale: float | Tensor  # the same of latents, which a handler may have changed
    path: FullPath

    def expected_parts(self) -> dict[str, Tensor]:
        """Return the expectation of each part of the ELBO over n, summed over images."""
        q = self.log_q.exp()
        kl = {kl_name(Z_PRES): self.log_q - self.log_prior, **self.kl}
        parts = {"likelihood": (q * self.log_likelihood).sum() * self.scale}
        return parts | {name: (q * term).sum() * self.kl_scale for name, term in kl.items()}


def count_terms(model: Program, guide: Program, *args: Any, **kwargs: Any) -> CountTerms:
    """Run the guide with every object present, and the model on all T + 1 staircases.

    Args:
        model: a program with the sites of AIR's, with masking.
        guide: a program with the sites of AIR's.
        *args: the programs' arguments.
        **kwargs: the programs' keyword arguments.

    Raises:
        ValueError: the model does not mask the latents of absent objects.
    """
    path = full_path(guide, *args, **kwargs)
    like = path.presence_logits[:, :1]  # (N, 1)
    num_steps = path.presence_logits.shape[-1]
    counts = torch.arange(num_steps + 1, device=like.device).view(-1, 1, 1)
    staircases = {
        at_step(Z_PRES, t): (counts > t).to(like.dtype).expand(-1, *like.shape)  # (T + 1, N, 1)
        for t in range(num_steps)
    }
    conditioned = poutine.condition(model, data=staircases)
    replayed = poutine.replay(conditioned, trace=path.trace)
    sites: Any = poutine.trace(replayed).get_trace(*args, **kwargs).nodes

    log_prior: Any = 0.0
    for name in staircases:
        log_prior = log_prior + sites[name]["fn"].log_prob(sites[name]["value"])  # (T + 1, N)
    # The order in which parts are added up and logged, whatever the order of the sites.
    kl: dict[str, Any] = {kl_name(Z_WHERE): 0.0, kl_name(Z_WHAT): 0.0}
    for name, q in path.q.items():
        prior, latent = sites[name]["fn"], latent_of(name)
        assert latent is not None
        if latent != name and prior.batch_shape == q.batch_shape:
            raise ValueError(
                f"MarginalELBO is defined for the masked objective only, but {name} is not "
                "masked: use_masking must be True"
            )
        # The model's mask is its staircase, so this is 0 where the object is absent.
        kl[kl_name(latent)] = kl.get(kl_name(latent), 0.0) + kl_divergence(q, prior)  # (T + 1, N)
    return CountTerms(
        log_likelihood=sites[OBS]["fn"].log_prob(sites[OBS]["value"]),
        log_prior=log_prior,
        log_q=path.count_log_probs().mT,
        kl=kl,
        scale=sites[OBS]["scale"],
        kl_scale=sites[at_step(Z_PRES, 0)]["scale"],
        path=path,
    )
