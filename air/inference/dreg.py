"""The doubly reparameterised gradient of the importance-weighted bound."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from pyro import poutine
from torch import Tensor
from torch.nn import functional as F

from air.inference.estimator import Estimate, Program, SurrogateELBO
from air.inference.iwae import bound_of, log_weights, terms_of_paths
from air.inference.particles import on_the_same_images
from air.model.full_path import FullPath, full_path
from air.model.sites import step_of


class DoublyReparameterizedELBO(SurrogateELBO):
    """The bound of `ImportanceWeightedELBO`, with less noise in the gradient of the guide.

    With w_k the normalised weights, that bound's gradient has a score function left in it,
    -Σ_k w_k P_k(n > t) ∂ log q(z_t | z_{<t}), whose noise grows with K against the gradient. As

        E[h(z) ∂ log q(z_t | z_{<t})] = E[∂h/∂z_t · ∂z_t], z_t = mean + sd · noise,

    it gives way to a second reparameterisation (Tucker et al., 2019), step by step, because each
    step's weight is another one here: ∂h/∂z_t goes through all that follows z_t, and ∂z_t through
    the parameters of its own step alone, which another run of the guide on the same draws, cut off
    from one another, tells apart.

    That holds where ∂h/∂z_t takes every path through what follows. A map cuts some off, as it
    chooses places: what `ImportanceWeightedELBO` gets from a score function there is then lost.

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
        terms = terms_of_paths(model, guide, self.num_paths, args, kwargs)
        logs = log_weights(terms)
        plain = bound_of(terms, logs)
        if not torch.is_grad_enabled():
            return plain
        surrogate = -plain.loss
        for each, weight in zip(terms, own_weights(logs), strict=True):
            surrogate = surrogate + each.kl_scale * exchanged(
                each.path, weight, guide, args, kwargs
            )
        return plain._replace(loss=surrogate.detach() + plain.loss.detach() - surrogate)


def own_weights(logs: Tensor) -> list[Tensor]:
    """Return each particle's normalised weight as a function of its own latents alone.

    Args:
        logs: (K, N), log weights.

    Returns:
        K weights, (N,) each.
    """
    weights = []
    for k, own in enumerate(logs):
        others = torch.cat((logs[:k], logs[k + 1 :])).detach().logsumexp(0)
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
    for t, names in itertools.groupby(anew, key=step_of):
        of_step = list(names)
        share = weight if t is None else weight * present[:, t]
        slopes = torch.autograd.grad(
            share.sum(),
            [values[each] for each in of_step],
            retain_graph=True,
            materialize_grads=True,
        )
        for name, slope in zip(of_step, slopes, strict=True):
            q, value = anew[name], cut_off[name]
            mean, sd = q.mean, q.stddev
            noise = ((value - mean) / sd).detach()
            score = (share.detach() * q.log_prob(value)).sum()
            total = total + score - (slope.detach() * (mean + sd * noise)).sum()
    return total
