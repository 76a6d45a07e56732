"""The doubly reparameterised gradient of the importance-weighted bound."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from pyro import poutine
from torch import Tensor
from torch.nn import functional as F

from air.inference.counts import count_terms, drawn
from air.inference.estimator import Estimate, Program, SurrogateELBO, elbo_metrics
from air.inference.particles import full_paths, importance_bound, mean_parts, on_the_same_images
from air.model.full_path import FullPath, full_path
from air.model.sites import latent_of


class DoublyReparameterizedELBO(SurrogateELBO):
    """The bound of `ImportanceWeightedELBO`, with less noise in the gradient of the guide.

    With w_k the normalised weights, that bound's gradient has a score function left in it,
    -Σ_k w_k P_k(n > t) ∂ log q(z_t | z_{<t}), whose noise grows with K against the gradient. As

        E[h(z) ∂ log q(z_t | z_{<t})] = E[∂h/∂z_t · ∂z_t], z_t = mean + sd · noise,

    it gives way to a second reparameterisation (Tucker et al., 2019), step by step, because each
    step's weight is another one here: ∂h/∂z_t goes through all that follows z_t, and ∂z_t through
    the parameters of its own step alone, which another run of the guide on the same draws, cut off
    from one another, tells apart.

    Args:
        num_particles: K, at least 1.
    """

    def __init__(self, num_particles: int) -> None:
        super().__init__()
        self.num_paths = num_particles

    def estimate(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> Estimate:
        """Return -bound, with the gradient of its surrogate; see `Estimator`.

        Raises:
            ValueError: the model does not mask the latents of absent objects.
        """
        paths = full_paths(guide, self.num_paths, args, kwargs)
        terms = [count_terms(model, path, args, kwargs, drawn) for path in paths]
        log_weights = torch.stack([each.elbo() for each in terms])  # (K, N)
        bound = (importance_bound(log_weights) * terms[0].scale).sum()
        parts = mean_parts([each.expected_parts() for each in terms])
        metrics = {"bound": bound.detach(), **elbo_metrics(parts)}
        if not torch.is_grad_enabled():
            return Estimate(-bound, metrics, paths[0])
        surrogate = bound
        for path, weight in zip(paths, own_weights(log_weights), strict=True):
            surrogate = surrogate + terms[0].kl_scale * exchanged(path, weight, guide, args, kwargs)
        return Estimate(surrogate.detach() - bound.detach() - surrogate, metrics, paths[0])


def own_weights(log_weights: Tensor) -> list[Tensor]:
    """Return each particle's normalised weight, (N,), as a function of its own latents alone."""
    weights = []
    for k, own in enumerate(log_weights):
        others = torch.cat((log_weights[:k], log_weights[k + 1 :])).detach().logsumexp(0)
        weights.append((own - others).sigmoid())  # 1 if there are none
    return weights


def exchanged(
    path: FullPath, weight: Tensor, guide: Program, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Tensor:
    """Return a scalar whose gradient takes the score functions of a path out, and puts in theirs.

    Args:
        path: of the guide.
        weight: (N,), a function of its draws.
        guide: which ran along it.
        args: its arguments.
        kwargs: its keyword arguments.
    """
    values = {name: path.trace.nodes[name]["value"] for name in path.q}
    cut_off = {name: value.detach() for name, value in values.items()}
    again = poutine.condition(on_the_same_images(guide, path.trace), data=cut_off)
    total = torch.zeros_like(weight).sum()
    present = F.logsigmoid(path.presence_logits).cumsum(-1).exp()  # (N, T), P(n > t)
    anew = full_path(again, *args, **kwargs).q
    for t, names in of_steps(anew).items():
        share = weight if t is None else weight * present[:, t]
        slopes = torch.autograd.grad(
            share.sum(), [values[name] for name in names], retain_graph=True, materialize_grads=True
        )
        for name, slope in zip(names, slopes, strict=True):
            q, value = anew[name], cut_off[name]
            noise = ((value - q.mean) / q.stddev).detach()
            score = (share.detach() * q.log_prob(value)).sum()
            total = total + score - (slope.detach() * (q.mean + q.stddev * noise)).sum()
    return total


def of_steps(names: Iterable[str]) -> dict[int | None, list[str]]:
    """Return the sites of each step; those that belong to none are under None."""
    steps: dict[int | None, list[str]] = {}
    for name in names:
        latent, _, t = name.rpartition("_")
        steps.setdefault(int(t) if latent_of(name) == latent else None, []).append(name)
    return steps
