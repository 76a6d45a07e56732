"""The score-function estimator of the paper, by Pyro's `TraceGraph_ELBO`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from pyro.infer import TraceGraph_ELBO
from pyro.ops.provenance import detach_provenance
from torch import Tensor

from air.inference.estimator import PARTS, detached, latent_part, latent_sites


class ReinforceELBO(TraceGraph_ELBO):
    """`TraceGraph_ELBO`, which also tells the parts of its last estimate.

    z_pres is drawn and its gradient is a score function, less whatever baselines the guide's sites
    carry (paper, section 2.2; Schulman et al., 2015); z_where and z_what are reparameterised.
    """

    def __init__(self) -> None:
        super().__init__()
        self.parts: dict[str, Tensor] = {}

    def surrogate_loss(
        self, model: Callable[..., Any], guide: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Tensor:
        """Return the scalar of Schulman et al. (2015, section 3) whose gradient is the estimate."""
        _, surrogate = self._loss_and_surrogate_loss(model, guide, args, kwargs)
        return surrogate

    def _get_trace(
        self, model: Callable[..., Any], guide: Callable[..., Any], args: Any, kwargs: Any
    ) -> Any:
        model_trace, guide_trace = super()._get_trace(model, guide, args, kwargs)
        with torch.no_grad():
            self.parts = detached(sampled_parts(model_trace, guide_trace))
        return model_trace, guide_trace


def sampled_parts(model_trace: Any, guide_trace: Any) -> dict[str, Tensor]:
    """Return one-sample estimates of the parts of the objective.

    Args:
        model_trace: of the model, replayed on the guide's draws, with log probabilities.
        guide_trace: of the guide, with log probabilities.

    Returns:
        likelihood, kl_pres, kl_where, kl_what: scalars, scaled like the plate's subsample.
    """
    parts: Any = dict.fromkeys(PARTS, torch.tensor(0.0))
    parts["likelihood"] = model_trace.nodes["obs"]["log_prob"].sum()
    for name, site in latent_sites(guide_trace):
        log_ratio = site["log_prob"] - model_trace.nodes[name]["log_prob"]
        parts[latent_part(name)] = parts[latent_part(name)] + log_ratio.sum()
    return detach_provenance(parts)
