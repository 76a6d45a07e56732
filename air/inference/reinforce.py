"""The score-function estimator of the paper, by Pyro's `TraceGraph_ELBO`."""

from __future__ import annotations

from typing import Any

import torch
from pyro.infer import TraceGraph_ELBO
from pyro.ops.provenance import detach_provenance
from torch import Tensor

from air.inference.estimator import Estimate, Program, elbo_metrics, kl_name
from air.model.sites import OBS, Z_PRES, Z_WHAT, Z_WHERE, latent_of


class ReinforceELBO(TraceGraph_ELBO):
    """`TraceGraph_ELBO`, which also tells what its estimate is made of.

    z_pres is drawn and its gradient is a score function, less whatever baselines the guide's sites
    carry (paper, section 2.2; Schulman et al., 2015); z_where and z_what are reparameterised. The
    squared error of a neural baseline is minimised too, but is no part of the loss's value.
    """

    def __init__(self) -> None:
        super().__init__()

    def estimate(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> Estimate:
        """Estimate the bound with one draw of z_pres; see `Estimator`."""
        model_trace, guide_trace = self._get_trace(model, guide, args, kwargs)
        with torch.no_grad():
            metrics = elbo_metrics(sampled_parts(model_trace, guide_trace))
        if not torch.is_grad_enabled():  # and no baseline learns from it
            return Estimate(-metrics["elbo"], metrics)
        _, surrogate = self._loss_and_surrogate_loss_particle(model_trace, guide_trace)
        # The value is -ELBO, the gradient that of the surrogate (Schulman et al., 2015, section 3).
        return Estimate(surrogate - surrogate.detach() - metrics["elbo"], metrics)


def sampled_parts(model_trace: Any, guide_trace: Any) -> dict[str, Tensor]:
    """Return one-draw estimates of the parts of the ELBO, summed over images.

    Args:
        model_trace: of the model, replayed on the guide's draws, with log probabilities.
        guide_trace: of the guide, with log probabilities.
    """
    parts: Any = {"likelihood": model_trace.nodes[OBS]["log_prob"].sum()}
    parts |= dict.fromkeys(map(kl_name, (Z_PRES, Z_WHERE, Z_WHAT)), torch.tensor(0.0))
    for name, site in guide_trace.nodes.items():
        latent = latent_of(name) if site["type"] == "sample" else None
        if latent is not None:
            log_ratio = (site["log_prob"] - model_trace.nodes[name]["log_prob"]).sum()
            parts[kl_name(latent)] = parts.get(kl_name(latent), 0.0) + log_ratio
    return detach_provenance(parts)
