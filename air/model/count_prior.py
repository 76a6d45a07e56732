"""The prior on the number of objects, as trial probabilities of z_pres, and its annealing."""

from __future__ import annotations

import math
from collections.abc import Callable

from air.model.config import AnnealedPriorConfig, PriorConfig

# iteration -> (step -> trial probability)
PresenceSchedule = Callable[[int], Callable[[int], float]]


def geometric_trial_probabilities(k: float, num_steps: int) -> list[float]:
    """Return the trial probabilities that make the count geometric: p(n) ∝ kⁿ, n = 0…num_steps.

    p_t = (Σ_{j=t+1..T} k^j) / (Σ_{j=t..T} k^j). Unlike a constant trial probability, this has the
    same difference in log probability between n and n + 1 objects for every n.

    Args:
        k: ratio of successive probabilities, positive.
        num_steps: T, at least 1.

    Returns:
        p_t for t = 0…T-1, each in (0, 1).
    """
    # Σ_{j=t..T} k^j has the common factor k^t, which is left out: k^T alone may underflow.
    tails = [math.fsum(k**j for j in range(num_steps - t + 1)) for t in range(num_steps + 1)]
    return [k * tails[t + 1] / tails[t] for t in range(num_steps)]


def annealed(config: PriorConfig, iteration: int) -> float:
    """Return the prior's parameter at an iteration, clamped outside the annealing.

    Args:
        config: the schedule.
        iteration: optimiser steps taken so far.

    Returns:
        `success` up to `anneal_begin`, `anneal_to` from `anneal_begin + anneal_duration` on, and
        between them a straight line in the parameter or in its logarithm.
    """
    if not isinstance(config, AnnealedPriorConfig):
        return config.success
    fraction = (iteration - config.anneal_begin) / config.anneal_duration
    if fraction <= 0:
        return config.success
    if fraction >= 1:
        return config.anneal_to
    if config.kind == "linear":
        return config.success + fraction * (config.anneal_to - config.success)
    return config.success * (config.anneal_to / config.success) ** fraction


def build_presence_schedule(config: PriorConfig, num_steps: int) -> PresenceSchedule:
    """Return the function iteration -> (step -> trial probability).

    Args:
        config: constant, linear or exponential; geometric over counts, or raw: one probability for
            every step.
        num_steps: the most objects in an image.
    """

    def at(iteration: int) -> Callable[[int], float]:
        parameter = annealed(config, iteration)
        if config.raw:
            return lambda t: parameter
        return geometric_trial_probabilities(parameter, num_steps).__getitem__

    return at
