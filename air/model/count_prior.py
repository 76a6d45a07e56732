"""The prior on the number of objects, as trial probabilities of z_pres, and its annealing."""

from __future__ import annotations

import math
from collections.abc import Callable

from air.model.presence import PresencePrior, PresenceSchedule


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


def annealed(begin: float, end: float, fraction: float, is_linear: bool) -> float:
    """Return a parameter on its way from one value to another, clamped outside.

    Args:
        begin: up to a fraction of 0.
        end: from a fraction of 1 on.
        fraction: of the way, in iterations.
        is_linear: a straight line in the parameter itself, or else in its logarithm.
    """
    if fraction <= 0:
        return begin
    if fraction >= 1:
        return end
    if is_linear:
        return begin + fraction * (end - begin)
    return float(begin * (end / begin) ** fraction)


def presence_schedule(
    parameter: Callable[[int], float], raw: bool, num_steps: int
) -> PresenceSchedule:
    """Return the function iteration -> (step -> trial probability).

    Args:
        parameter: iteration -> k of p(n) ∝ kⁿ or, when raw, the trial probability of every step.
        raw: one probability for every step, instead of geometric over counts.
        num_steps: the most objects in an image.
    """

    def at(iteration: int) -> PresencePrior:
        value = parameter(iteration)
        if raw:
            return lambda t: value
        return geometric_trial_probabilities(value, num_steps).__getitem__

    return at
