"""Reweighted wake-sleep: weighted draws teach both programs, and scenes of the model the guide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from pyro import poutine
from pyro.poutine.messenger import Messenger
from torch import Tensor

from air.inference.estimator import Estimate, Program, SurrogateELBO, elbo_metrics
from air.inference.particles import added_up, draws, importance_bound, log_probs, mean_parts
from air.model.images import pictures
from air.model.sites import OBS, latent_of


class ReweightedWakeSleep(SurrogateELBO):
    """Reweighted wake-sleep (Bornschein and Bengio, 2015; on AIR by Le et al., 2019).

    K draws of the guide, with weights w_k = p(x, z_k) / q(z_k | x) that are normalised, stand for
    the posterior. The model follows Σ_k w_k ∂ log p(x, z_k) (wake-theta), the gradient of the
    importance-weighted bound. The guide follows Σ_k w_k ∂ log q(z_k | x) (wake-phi), and
    ∂ log q(z | x) of scenes that the model makes up, latents and all (sleep-phi). No latent is
    reparameterised and there is no score function of a bound, so that nothing is noisier for being
    discrete; but the guide's gradient has a bias that falls with K, and it has an objective of its
    own. The value of the loss is that of the model: minus the bound.

    Pyro's `ReweightedWakeSleep` is no loss for our programs: its sleep phase hands the scenes to
    both as an argument `observations`. The guide must be AIR's, as it is told not to teach the
    background that it shares with the model.

    Args:
        num_particles: K, at least 1; with 1 there is one weight, which is 1.
        wake_share: of wake-phi in what the guide follows; the rest is of sleep-phi.
    """

    def __init__(self, num_particles: int, wake_share: float = 1.0) -> None:
        super().__init__()
        self.num_draws = num_particles
        self.wake_share = wake_share

    def estimate(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> Estimate:
        """Estimate the bound with K draws of all latents; see `Estimator`."""
        # What lies behind the objects follows the model's objective alone.
        guide = partial(guide, teaches_background=False)
        with Given():
            particles = draws(model, guide, self.num_draws, args, kwargs)
        log_joint = torch.stack([draw.log_joint() for draw in particles])  # (K, N)
        log_weights = torch.stack([draw.log_weight() for draw in particles]).detach()
        weights = log_weights.softmax(0)
        log_q = torch.stack([draw.log_guide() for draw in particles])
        followed = (weights * (log_joint + self.wake_share * log_q)).sum(0)  # (N,)
        if self.wake_share < 1 and torch.is_grad_enabled():
            sleep = asleep(model, guide, args, kwargs).mean()  # for each image
            # Scenes whose objects do not yet look like real ones count as much as divergences do.
            followed = followed + (1 - self.wake_share) * particles[0].kl_weight * sleep
        scale = particles[0].scale
        bound = (importance_bound(log_weights) * scale).sum()
        parts = mean_parts([draw.parts() for draw in particles])
        surrogate = (followed * scale).sum()
        metrics = {"bound": bound, **elbo_metrics(parts)}
        return Estimate(surrogate.detach() - surrogate - bound, metrics)


class Given(Messenger):
    """Draws every latent without a gradient, as if it had been given."""

    def _pyro_sample(self, message: Any) -> None:
        if latent_of(message["name"]) is not None and message["value"] is None:
            message["value"] = message["fn"].sample()


def asleep(
    model: Program, guide: Program, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Tensor:
    """Return log q(z | x) of as many scenes of the model's as there are images in all, (N,).

    Args:
        model: which draws latents, and images too.
        guide: which is shown the images.
        args: the programs' arguments, images first.
        kwargs: their keyword arguments.
    """
    with torch.no_grad():
        scenes: Any = poutine.trace(poutine.uncondition(model)).get_trace(*args, **kwargs)
    x_size = args[0].shape[2]
    images = pictures(scenes.nodes[OBS]["value"].unflatten(-1, (-1, x_size, x_size)))
    others = {name: value for name, value in kwargs.items() if name != "batch_size"}
    latents = {
        name: site["value"]
        for name, site in scenes.nodes.items()
        if site["type"] == "sample" and latent_of(name) is not None
    }
    trace: Any = poutine.trace(poutine.condition(guide, data=latents)).get_trace(images, **others)
    return added_up(log_probs(trace))
