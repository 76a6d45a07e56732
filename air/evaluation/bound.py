"""The importance-weighted bound (Burda et al., 2016): log p(x) from below, tighter with K."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from pyro import poutine
from torch import Tensor
from tqdm import tqdm

from air.evaluation.interval import mean_and_interval
from air.evaluation.subject import Measurement, Subject
from air.inference import particles
from air.model.air import AIR
from air.model.images import to_unit
from air.model.parameters import OwnParameters
from air.model.presence import PresencePrior
from air.model.sites import OBS, latent_of

_BLOCK = 500  # samples at a time, which bounds memory


def bound(subject: Subject) -> Iterator[tuple[str, Measurement]]:
    """Estimate E log (1/K) Σ_k p(x, z_k) / q(z_k | x), z_k from the guide, for every K asked.

    All K share one set of samples: that of a smaller K is the mean over disjoint groups.

    Yields:
        k_K: the bound, per image, in nats; K = 1 is the ELBO. With the ends of its 95 % bootstrap
            interval over images, `…_low` and `…_high`.
        num_images: on how many images.
    """
    asked = subject.config.bound.num_samples
    images = to_unit(subject.scenes.images[: subject.config.bound.num_images], "cpu")
    bounds: dict[int, list[float]] = {k: [] for k in sorted(asked)}
    for i, image in enumerate(tqdm(images, desc="importance weights", leave=False)):
        with torch.random.fork_rng(devices=[]):
            # Each image has its own noise, so that its value does not depend on the others.
            torch.manual_seed(subject.config.seed * 1_000_003 + i)
            weights = log_weights(subject.run.air, image, max(asked), subject.run.z_pres_prior_p)
        for k, of_images in bounds.items():
            of_images.append(importance_bound(weights, k))
    for k, of_images in bounds.items():
        yield from mean_and_interval(f"k_{k}", np.array(of_images), subject.config.seed)
    yield "num_images", len(images)


def importance_bound(weights: Tensor, k: int) -> float:
    """Return the mean over groups of k of log (1/k) Σ exp(weight).

    Args:
        weights: (samples,), log weights; their number is a multiple of k.
        k: samples in a group.
    """
    groups = weights.view(-1, k).double()
    return particles.importance_bound(groups.mT).mean().item()


@torch.no_grad()
def log_weights(air: AIR, image: Tensor, num_samples: int, z_pres_prior_p: PresencePrior) -> Tensor:
    """Return log p(x, z) - log q(z | x) of samples z from the guide, in nats, (num_samples,).

    Args:
        air: whose model and guide are run.
        image: (x_size, x_size) or (x_size, x_size, 3), in [0, 1].
        num_samples: how many.
        z_pres_prior_p: step -> trial probability of its object.
    """
    blocks = []
    for start in range(0, num_samples, _BLOCK):
        copies = image.expand(min(_BLOCK, num_samples - start), *image.shape)
        with OwnParameters():
            guide: Any = poutine.trace(air.guide).get_trace(copies, z_pres_prior_p=z_pres_prior_p)
            replayed = poutine.replay(air.model, trace=guide)
            joint: Any = poutine.trace(replayed).get_trace(copies, z_pres_prior_p=z_pres_prior_p)
        blocks.append(_log_density(joint) - _log_density(guide))
    return torch.cat(blocks)


def _log_density(trace: Any) -> Tensor:
    """Add up the sites of a trace for each sample of the plate, (n,)."""
    trace.compute_log_prob()
    sites = [node["log_prob"] for node in trace.nodes.values() if _is_latent_or_obs(node)]
    return torch.stack([site.double() for site in sites]).sum(0)


def _is_latent_or_obs(node: dict[str, Any]) -> bool:
    name = node["name"]
    return node["type"] == "sample" and (name == OBS or latent_of(name) is not None)
