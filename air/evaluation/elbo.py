"""The evidence lower bound and its parts, with the count summed out where that is defined."""

from __future__ import annotations

from collections.abc import Iterator

from air.evaluation.held_out import elbo_parts
from air.evaluation.subject import Measurement, Subject


def elbo(subject: Subject) -> Iterator[tuple[str, Measurement]]:
    """Estimate the ELBO with one sample of z_where and z_what per image.

    Yields:
        elbo, likelihood, kl_pres, kl_where, kl_what: per image, in nats.
    """
    run = subject.run
    yield from elbo_parts(run.air, subject.scenes.images, run.z_pres_prior_p).items()
