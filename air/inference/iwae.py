"""The importance-weighted bound with the number of objects summed out of every weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from air.inference.counts import CountTerms, count_terms, drawn
from air.inference.estimator import Estimate, Program, SurrogateELBO, elbo_metrics
from air.inference.particles import full_paths, importance_bound, mean_parts


class ImportanceWeightedELBO(SurrogateELBO):
    """log (1/K) Σ_k exp(ELBO_k), of K paths of the guide (Burda et al., 2016).

    ELBO_k is that along the k-th path, with the count summed out and the other latents drawn:

        ELBO_k = Σ_n q(n) [log p(x | n) + log p(n) - log q(n) - Σ_{t<n} log q(z_t) / p(z_t)].

    As exp is convex, exp(ELBO_k) is at most p(x) in the mean, so that this is a bound. With one
    path it is the ELBO, as `MarginalELBO` has it; with more it is tighter. It lies below the bound
    of weights with a drawn count (`VIMCO`), which has no such gradient: here everything is
    reparameterised. Weights Σ_n p(x, n, z) / q(z) would be tighter still, but q(n) has no part in
    them, and would never be learned.

    Args:
        num_particles: K, at least 1.
    """

    def __init__(self, num_particles: int) -> None:
        super().__init__()
        self.num_paths = num_particles

    def estimate(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> Estimate:
        """Return -bound, its own surrogate; see `Estimator`.

        Raises:
            ValueError: the model does not mask the latents of absent objects.
        """
        terms = terms_of_paths(model, guide, self.num_paths, args, kwargs)
        return bound_of(terms, log_weights(terms))


def terms_of_paths(
    model: Program, guide: Program, num: int, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> list[CountTerms]:
    """Return the terms of every count along several paths, with the other latents drawn.

    Raises:
        ValueError: the model does not mask the latents of absent objects.
    """
    paths = full_paths(guide, num, args, kwargs)
    return [count_terms(model, path, args, kwargs, drawn) for path in paths]


def log_weights(terms: Sequence[CountTerms]) -> Tensor:
    """Return the ELBO along each path, (K, N)."""
    return torch.stack([each.elbo() for each in terms])


def bound_of(terms: Sequence[CountTerms], weights: Tensor) -> Estimate:
    """Return minus the bound of some paths, and the ELBO along them in the mean.

    Args:
        terms: along each path.
        weights: their `log_weights`.
    """
    bound = (importance_bound(weights) * terms[0].scale).sum()
    parts = mean_parts([each.expected_parts() for each in terms])
    return Estimate(-bound, {"bound": bound.detach(), **elbo_metrics(parts)}, terms[0].path)
