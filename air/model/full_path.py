"""The guide run once with every object present: what each count is then known from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from pyro import poutine
from pyro.distributions import TorchDistribution
from pyro.poutine.messenger import Messenger
from torch import Tensor
from torch.nn import functional as F

from air.model.sites import Z_PRES, Z_WHAT, Z_WHERE, latent_of


class FullPath(NamedTuple):
    """The path on which every object is present; T = num_steps."""

    presence_logits: Tensor  # (N, T) log odds of π_t, that there is a t-th object
    z_where: Tensor  # (N, T, 3)
    z_what: Tensor  # (N, T, z_what_size)
    q: dict[str, TorchDistribution]  # of every other latent site, by its name; batch shape (N,)
    trace: Any  # for `poutine.replay`

    def count_log_probs(self) -> Tensor:
        """Return log q(n) of the counts n = 0…T, (N, T + 1)."""
        return count_log_probs(self.presence_logits)


def full_path(
    guide: Callable[..., Any], *args: Any, use_means: bool = False, **kwargs: Any
) -> FullPath:
    """Run a guide with every z_pres at 1.

    Args:
        guide: a program with the sites of `air.model.guide.Guide`; how many steps there are, it
            tells itself.
        *args: its arguments.
        use_means: take the mean of every other latent instead of a draw.
        **kwargs: its keyword arguments.
    """
    trace: Any = poutine.trace(_AllPresent(use_means)(guide)).get_trace(*args, **kwargs)
    logits, z_where, z_what = [], [], []
    q: dict[str, TorchDistribution] = {}
    for name, site in trace.nodes.items():
        latent = latent_of(name) if site["type"] == "sample" else None
        if latent == Z_PRES:
            logits.append(site["fn"].base_dist.logits)  # (N, 1)
            continue
        if latent == Z_WHERE:
            z_where.append(site["value"])
        elif latent == Z_WHAT:
            z_what.append(site["value"])
        if latent is not None:
            q[name] = site["fn"]
    return FullPath(
        torch.cat(logits, -1), torch.stack(z_where, 1), torch.stack(z_what, 1), q, trace
    )


def count_log_probs(presence_logits: Tensor) -> Tensor:
    """Return log q(n) = log (1 - π_n) + Σ_{t<n} log π_t, without the first term at n = T.

    Args:
        presence_logits: (..., T) log odds of π_t, along the path on which every object is present.

    Returns:
        (..., T + 1) log probabilities of the counts 0…T.
    """
    present = F.logsigmoid(presence_logits).cumsum(-1)
    absent = F.logsigmoid(-presence_logits)
    return F.pad(present, (1, 0)) + F.pad(absent, (0, 1))


class _AllPresent(Messenger):
    """Observes every z_pres to be 1 and, if asked, gives every other latent its mean."""

    def __init__(self, use_means: bool) -> None:
        super().__init__()
        self.use_means = use_means

    def _pyro_sample(self, message: Any) -> None:
        latent = latent_of(message["name"])
        if latent == Z_PRES:
            message["value"] = torch.ones_like(message["fn"].base_dist.logits)
            message["is_observed"] = True
        elif latent is not None and self.use_means:
            message["value"] = message["fn"].mean
            message["done"] = True
