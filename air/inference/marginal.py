"""The ELBO with the number of objects summed out exactly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from pyro import poutine
from pyro.infer import ELBO
from torch import Tensor
from torch.distributions import kl_divergence

from air.inference.estimator import detached, elbo_of, latent_part, latent_sites
from air.model.posterior import count_log_probs

Program = Callable[..., Any]


class CountBounds(NamedTuple):
    """What the guide's path says of each count; T = num_steps."""

    elbo: Tensor  # (T + 1, N) lower bounds on log p(image, n), of one draw, in nats; detached
    log_q: Tensor  # (T + 1, N) log q(n), to differentiate
    log_prior: Tensor  # (T + 1,) log p(n)
    where_sd: Tensor  # (N, 3) standard deviation of the first window's z_where


class MarginalELBO(ELBO):
    """Exact marginalisation of z_pres; everything else is reparameterised.

    z_pres is a staircase: a draw of it is a count n in 0…T, and steps after the n-th do not matter.
    So the guide runs once with every z_pres at 1, which gives samples of z_where and z_what and the
    presence probabilities π_t along that path, and the model runs once on all T + 1 staircases, in
    a new leftmost dimension. With q(n) = (1 - π_n) Π_{t<n} π_t (no first factor at n = T),

        ELBO = E_{z_where, z_what} Σ_n q(n) [log p(x | n) + log p(n) - log q(n) - Σ_{t<n} KL_t].

    There is no score-function term, no baseline and no further pass of any network. It is the
    conditional expectation of what `TraceGraph_ELBO` estimates, and defined for the masked
    objective only: without masking, steps after the last object would enter along another path.

    Attributes:
        parts: as of every estimator.
        count_bounds: of the last call.
    """

    count_bounds: CountBounds

    def __init__(self) -> None:
        super().__init__()
        self.parts: dict[str, Tensor] = {}

    def _get_trace(self, model: Program, guide: Program, args: Any, kwargs: Any) -> Any:
        """Return the traces of the model on all staircases, and of the guide on the full one."""
        # How many steps there are, the program itself tells: the guide is conditioned as it runs.
        guide_trace = poutine.trace(AllPresent()(guide)).get_trace(*args, **kwargs)
        presence = [name for name, _ in latent_sites(guide_trace) if latent_part(name) == "kl_pres"]
        like: Any = guide_trace.nodes[presence[0]]["value"]  # (N, 1)
        counts = torch.arange(len(presence) + 1, device=like.device).view(-1, 1, 1)
        staircases = {
            name: (counts > t).to(like.dtype).expand(-1, *like.shape)  # (T + 1, N, 1)
            for t, name in enumerate(presence)
        }
        conditioned = poutine.condition(model, data=staircases)
        model_trace = poutine.trace(poutine.replay(conditioned, trace=guide_trace)).get_trace(
            *args, **kwargs
        )
        return model_trace, guide_trace

    def surrogate_loss(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> Tensor:
        """Return -ELBO, summed over images, as a tensor to differentiate: its own surrogate.

        Args:
            model: a program with the sites of `AIR.model`, with masking.
            guide: a program with the sites of `AIR.guide`.
            *args: the programs' arguments.
            **kwargs: the programs' keyword arguments.
        """
        model_trace, guide_trace = self._get_trace(model, guide, args, kwargs)
        parts, self.count_bounds = marginal_parts(model_trace, guide_trace)
        self.parts = detached(parts)
        return -elbo_of(parts)

    def loss(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> float:
        """Return -ELBO, summed over images."""
        with torch.no_grad():
            return self.surrogate_loss(model, guide, *args, **kwargs).item()

    def loss_and_grads(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> float:
        """Return -ELBO and add its gradient to every parameter's."""
        loss = self.surrogate_loss(model, guide, *args, **kwargs)
        loss.backward()
        return loss.item()


class AllPresent(poutine.messenger.Messenger):
    """Observes every z_pres to be 1."""

    def _pyro_sample(self, message: Any) -> None:
        if message["name"].startswith("z_pres_"):
            message["value"] = torch.ones_like(message["fn"].base_dist.logits)
            message["is_observed"] = True


def marginal_parts(model_trace: Any, guide_trace: Any) -> tuple[dict[str, Tensor], CountBounds]:
    """Take the expectation over the count of each part of the objective.

    Args:
        model_trace: of the model on all staircases: sites of batch shape (T + 1, N) or (N,).
        guide_trace: of the guide with every object present: sites of batch shape (N,).

    Returns:
        likelihood, kl_pres, kl_where, kl_what: scalars, scaled like the plate's subsample; and what
        they are expectations of.

    Raises:
        ValueError: the model does not mask the latents of absent objects.
    """
    logits: list[Tensor] = []
    log_prior: Any = 0.0
    kl: dict[str, Any] = {"kl_where": 0.0, "kl_what": 0.0}
    for name, site in latent_sites(guide_trace):
        if latent_part(name) == "kl_pres":
            logits.append(site["fn"].base_dist.logits)  # (N, 1)
            prior = model_trace.nodes[name]
            log_prior = log_prior + prior["fn"].log_prob(prior["value"])  # (T + 1, N)
        else:
            prior = model_trace.nodes[name]
            if prior["fn"].batch_shape == site["fn"].batch_shape:
                raise ValueError(
                    f"MarginalELBO is defined for the masked objective only, but {name} is not "
                    "masked: use_masking must be True"
                )
            # The model's mask is its staircase, so this is 0 where the object is absent.
            kl[latent_part(name)] = kl[latent_part(name)] + kl_divergence(
                site["fn"], prior["fn"]
            )  # (T + 1, N)

    log_q = count_log_probs(torch.cat(logits, -1)).mT  # (T + 1, N)
    q = log_q.exp()
    obs = model_trace.nodes["obs"]
    log_likelihood = obs["fn"].log_prob(obs["value"])  # (T + 1, N)
    terms = {"likelihood": log_likelihood, "kl_pres": log_q - log_prior, **kl}
    parts = {name: (q * term).sum() * obs["scale"] for name, term in terms.items()}
    elbo = log_likelihood + log_prior - kl["kl_where"] - kl["kl_what"]
    where_sd = guide_trace.nodes["z_where_0"]["fn"].stddev
    # Every image has the same prior.
    return parts, CountBounds(elbo.detach(), log_q, log_prior[:, 0], where_sd.detach())
