"""The importance-weighted bound with drawn counts, each particle the baseline of the others."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from air.inference.estimator import Estimate, Program, SurrogateELBO, elbo_metrics
from air.inference.particles import draws, importance_bound, mean_parts
from air.model.sites import Z_PRES


class VIMCO(SurrogateELBO):
    """log (1/K) Σ_k p(x, z_k) / q(z_k | x), with VIMCO's gradient (Mnih and Rezende, 2016).

    z_pres is drawn, and its gradient is a score function whose learning signal is that of each
    particle: the bound, less what it would be if the particle's weight were the geometric mean of
    the others'. z_where and z_what are reparameterised.

    Its gradient is not doubly reparameterised, as `DoublyReparameterizedELBO`'s is: what that puts
    in the place of a score function of z_where would need a score function of all later z_pres.

    Args:
        num_particles: K, at least 2.

    Raises:
        ValueError: there is no other particle.
    """

    def __init__(self, num_particles: int) -> None:
        super().__init__()
        if num_particles < 2:
            raise ValueError(f"num_particles must be at least 2, got {num_particles}")
        self.num_draws = num_particles

    def estimate(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> Estimate:
        """Estimate the bound with K draws of all latents; see `Estimator`."""
        particles = draws(model, guide, self.num_draws, args, kwargs)
        log_weights = torch.stack([draw.log_weight() for draw in particles])  # (K, N)
        log_q = torch.stack([draw.log_q[Z_PRES] for draw in particles])
        bound = importance_bound(log_weights)  # (N,)
        signal = (bound - without_each(log_weights)).detach()  # (K, N)
        score = (signal * log_q).sum(0)
        scale = particles[0].scale
        metrics = {
            "bound": (bound.detach() * scale).sum(),
            **elbo_metrics(mean_parts([draw.parts() for draw in particles])),
        }
        return Estimate(-((bound + score - score.detach()) * scale).sum(), metrics)


def without_each(log_weights: Tensor) -> Tensor:
    """Return the bound with each weight in turn replaced by the geometric mean of the others.

    Args:
        log_weights: (K, N).

    Returns:
        (K, N), of which the k-th does not depend on the k-th weight.
    """
    num = len(log_weights)
    means = (log_weights.sum(0) - log_weights) / (num - 1)
    here = torch.eye(num, dtype=torch.bool, device=log_weights.device).unsqueeze(-1)  # (K, K, 1)
    replaced = torch.where(here, means.unsqueeze(0), log_weights.unsqueeze(0))  # (K, K, N)
    return replaced.logsumexp(1) - math.log(num)
