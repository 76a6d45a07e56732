"""The terms of the ELBO for every number of objects at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from pyro import poutine
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import kl_divergence

from air.inference.estimator import Program, kl_name
from air.model.full_path import FullPath
from air.model.sites import OBS, Z_PRES, Z_WHAT, Z_WHERE, at_step, latent_of, step_of

# (q, the prior, a draw from q, whether there is its object or None) -> the KL divergence, or an
# estimate of it that is right in the mean.
Divergence = Callable[[TorchDistribution, TorchDistribution, Tensor, Tensor | None], Tensor]


def analytic(
    q: TorchDistribution, prior: TorchDistribution, value: Tensor, present: Tensor | None
) -> Tensor:
    """Return the KL divergence itself; 0 where there is no object, as the prior is masked there."""
    return kl_divergence(q, prior)


def drawn(
    q: TorchDistribution, prior: TorchDistribution, value: Tensor, present: Tensor | None
) -> Tensor:
    """Return log q - log p of the draw, which importance weights are made of."""
    if present is not None:
        q = q.mask(present)
    return q.log_prob(value) - prior.log_prob(value)


class CountTerms(NamedTuple):
    """The terms of the ELBO for each count n; T = num_steps."""

    log_likelihood: Tensor  # (T + 1, N)
    log_prior: Tensor  # (T + 1, N) log p(n)
    log_q: Tensor  # (T + 1, N) log q(n)
    kl: dict[str, Tensor]  # by name, (T + 1, N) or (N,) each
    scale: float | Tensor  # of the plate's subsample
    kl_scale: float | Tensor  # the same of latents, which a handler may have changed
    path: FullPath

    def expected_parts(self) -> dict[str, Tensor]:
        """Return the expectation of each part of the ELBO over n, summed over images."""
        q = self.log_q.exp()
        kl = {kl_name(Z_PRES): self.log_q - self.log_prior, **self.kl}
        parts = {"likelihood": (q * self.log_likelihood).sum() * self.scale}
        return parts | {name: (q * term).sum() * self.kl_scale for name, term in kl.items()}

    def elbo(self) -> Tensor:
        """Return the ELBO of each image along this path, (N,)."""
        rest = self.log_prior - self.log_q - sum(self.kl.values())
        return (self.log_q.exp() * (self.log_likelihood + self.kl_weight * rest)).sum(0)

    def rewards(self) -> Tensor:
        """Return what is expected over the count, (T + 1, N): all but the count's own KL."""
        return self.log_likelihood - self.kl_weight * sum(self.kl.values())

    def drawn_parts(self, count: Tensor) -> dict[str, Tensor]:
        """Return the parts of the ELBO of a drawn count, summed over images; its own KL is exact.

        Args:
            count: (N,), int64.
        """

        def of_count(term: Tensor) -> Tensor:
            return term.expand_as(self.log_q).gather(0, count.unsqueeze(0)).sum()

        kl_pres = (self.log_q.exp() * (self.log_q - self.log_prior)).sum()
        return {
            "likelihood": of_count(self.log_likelihood) * self.scale,
            kl_name(Z_PRES): kl_pres * self.kl_scale,
            **{name: of_count(term) * self.kl_scale for name, term in self.kl.items()},
        }

    @property
    def kl_weight(self) -> float | Tensor:
        """How much a latent's nat counts against one of the likelihood."""
        return self.kl_scale / self.scale


def count_terms(
    model: Program,
    path: FullPath,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    divergence: Divergence = analytic,
) -> CountTerms:
    """Run the model on all T + 1 staircases along a path of the guide.

    z_pres is a staircase: a draw of it is a count n in 0…T, and steps after the n-th do not matter.
    So one path, on which every object is present, has all that the guide says of every count, and
    the model runs once, with the staircases in a new leftmost dimension.

    Args:
        model: a program with the sites of AIR's, with masking.
        path: of the guide, called with the same arguments.
        args: the programs' arguments.
        kwargs: their keyword arguments.
        divergence: of a latent from its prior.

    Raises:
        ValueError: the model does not mask the latents of absent objects.
    """
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
        prior, value = sites[name]["fn"], sites[name]["value"]
        t, present = step_of(name), None
        if t is not None:
            check_masked(name, q, prior)
            present = staircases[at_step(Z_PRES, t)].squeeze(-1) > 0
        of = kl_name(latent_of(name) or name)
        kl[of] = kl.get(of, 0.0) + divergence(q, prior, value, present)
    return CountTerms(
        log_likelihood=sites[OBS]["fn"].log_prob(sites[OBS]["value"]),
        log_prior=log_prior,
        log_q=path.count_log_probs().mT,
        kl=kl,
        scale=sites[OBS]["scale"],
        kl_scale=sites[at_step(Z_PRES, 0)]["scale"],
        path=path,
    )


def check_masked(name: str, q: TorchDistribution, prior: TorchDistribution) -> None:
    """Refuse a prior that is not the presences' own: without masking, the objective is another one.

    What follows the last object would enter along another path than that with every object.

    Raises:
        ValueError: the model does not mask the latents of absent objects.
    """
    if prior.batch_shape == q.batch_shape:
        raise ValueError(
            "this estimator is defined for the masked objective only, but "
            f"{name} is not masked: use_masking must be True"
        )
