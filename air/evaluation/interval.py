"""The uncertainty of a mean over images: its bootstrap interval."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap

LOW, HIGH = "_low", "_high"  # behind a metric's name: the ends of its interval
_RESAMPLES = 1000


def mean_and_interval(
    name: str, values: NDArray[np.floating[Any]], seed: int
) -> Iterator[tuple[str, float]]:
    """Yield the mean of the values under a name, and the ends of its interval beside it."""
    low, high = interval(values, seed)
    yield name, float(values.mean())
    yield name + LOW, low
    yield name + HIGH, high


def interval(values: NDArray[np.floating[Any]], seed: int) -> tuple[float, float]:
    """Return the ends of the 95 % bootstrap interval (percentiles) of a mean.

    Args:
        values: (N,).
        seed: of the resampling.
    """
    if len(values) < 2:
        return float(values[0]), float(values[0])  # nothing to draw again
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # all values may be equal
        result = bootstrap(
            (values,),
            np.mean,
            n_resamples=_RESAMPLES,
            batch=50,
            method="percentile",
            rng=np.random.default_rng(seed),
        )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)
