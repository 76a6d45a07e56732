"""Several runs of the guide on the same images, and the bound of their importance weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from pyro import poutine
from torch import Tensor

from air.inference.estimator import Program, kl_name
from air.model.full_path import FullPath, full_path
from air.model.sites import OBS, PLATE, Z_PRES, Z_WHAT, Z_WHERE, at_step, latent_of


def full_paths(
    guide: Program, num: int, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> list[FullPath]:
    """Run a guide several times with every object present, on the same subsample of images."""
    first = full_path(guide, *args, **kwargs)
    again = on_the_same_images(guide, first.trace)
    return [first, *(full_path(again, *args, **kwargs) for _ in range(num - 1))]


def on_the_same_images(program: Program, trace: Any) -> Program:
    """Return a program that takes the images that the plate of a trace took."""
    images = poutine.Trace()
    images.add_node(PLATE, **trace.nodes[PLATE])
    same: Program = poutine.replay(program, trace=images)
    return same


class Draw(NamedTuple):
    """All latents of each image drawn once from the guide, and their log probabilities."""

    log_likelihood: Tensor  # (N,)
    log_prior: dict[str, Tensor]  # by latent, (N,) each
    log_q: dict[str, Tensor]  # likewise
    scale: float | Tensor  # of the plate's subsample
    kl_scale: float | Tensor  # the same of latents, which a handler may have changed

    def log_joint(self) -> Tensor:
        """Return log p(x, z), (N,)."""
        return self.log_likelihood + self.kl_weight * added_up(self.log_prior)

    def log_guide(self) -> Tensor:
        """Return log q(z | x), (N,)."""
        return added_up(self.log_q)

    def log_weight(self) -> Tensor:
        """Return log p(x, z) - log q(z | x), (N,)."""
        return self.log_joint() - self.kl_weight * self.log_guide()

    def parts(self) -> dict[str, Tensor]:
        """Return one-draw estimates of the parts of the ELBO, summed over images."""
        parts = {"likelihood": self.log_likelihood.sum() * self.scale}
        for latent, log_q in self.log_q.items():
            parts[kl_name(latent)] = (log_q - self.log_prior[latent]).sum() * self.kl_scale
        return parts

    @property
    def kl_weight(self) -> float | Tensor:
        """How much a latent's nat counts against one of the likelihood."""
        return self.kl_scale / self.scale


def draws(
    model: Program, guide: Program, num: int, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> list[Draw]:
    """Run a guide, as it draws, and the model on what it drew, on the same subsample of images.

    Args:
        model: a program with the sites of AIR's.
        guide: likewise.
        num: how often.
        args: the programs' arguments.
        kwargs: their keyword arguments.
    """
    found: list[Draw] = []
    for _ in range(num):
        trace: Any = poutine.trace(guide).get_trace(*args, **kwargs)
        found.append(draw_of(model, trace, args, kwargs))
        guide = on_the_same_images(guide, trace)
    return found


def draw_of(model: Program, trace: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Draw:
    """Return what a trace of the guide drew, and what the model says of it."""
    replayed = poutine.replay(model, trace=trace)
    of_model: Any = poutine.trace(replayed).get_trace(*args, **kwargs)
    obs = of_model.nodes[OBS]
    return Draw(
        log_likelihood=obs["fn"].log_prob(obs["value"]),
        log_prior=log_probs(of_model),
        log_q=log_probs(trace),
        scale=obs["scale"],
        kl_scale=of_model.nodes[at_step(Z_PRES, 0)]["scale"],
    )


def log_probs(trace: Any) -> dict[str, Tensor]:
    """Return the log probabilities of the latents of a trace, by latent, (N,) each; unscaled."""
    found: dict[str, Any] = dict.fromkeys((Z_PRES, Z_WHERE, Z_WHAT), 0.0)  # in this order
    for name, site in trace.nodes.items():
        latent = latent_of(name) if site["type"] == "sample" else None
        if latent is not None:
            found[latent] = found.get(latent, 0.0) + site["fn"].log_prob(site["value"])
    return found


def added_up(of_latents: Mapping[str, Tensor]) -> Tensor:
    """Return the sum over latents, (N,)."""
    total: Any = sum(of_latents.values())
    return total


def importance_bound(log_weights: Tensor) -> Tensor:
    """Return log (1/K) Σ_k w_k (Burda et al., 2016): (K, N) log weights -> (N,)."""
    return log_weights.logsumexp(0) - math.log(len(log_weights))


def mean_parts(of_particles: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return the mean of each part of the ELBO over particles."""
    return {
        name: torch.stack([parts[name] for parts in of_particles]).mean(0)
        for name in of_particles[0]
    }
