"""The ELBO with the number of objects summed out exactly."""

from __future__ import annotations

from typing import Any

from air.inference.counts import count_terms
from air.inference.estimator import Estimate, Program, SurrogateELBO, elbo_metrics, elbo_of
from air.model.full_path import full_path


class MarginalELBO(SurrogateELBO):
    """Exact marginalisation of z_pres; everything else is reparameterised.

    The guide runs once with every z_pres at 1, which gives samples of z_where and z_what and the
    presence probabilities π_t along that path. With q(n) = (1 - π_n) Π_{t<n} π_t (no first factor
    at n = T),

        ELBO = E_{z_where, z_what} Σ_n q(n) [log p(x | n) + log p(n) - log q(n) - Σ_{t<n} KL_t].

    There is no score-function term, no baseline and no further pass of any network. It is the
    conditional expectation of what `TraceGraph_ELBO` estimates, and defined for the masked
    objective only: without masking, steps after the last object would enter along another path.
    """

    def estimate(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> Estimate:
        """Return -ELBO, its own surrogate; see `Estimator`.

        Raises:
            ValueError: the model does not mask the latents of absent objects.
        """
        terms = count_terms(model, full_path(guide, *args, **kwargs), args, kwargs)
        parts = terms.expected_parts()
        return Estimate(-elbo_of(parts), elbo_metrics(parts), terms.path)
