"""The presence prior against the distribution over counts that it stands for."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from air.model.config import AnnealedPriorConfig, ConstantPriorConfig
from air.model.count_prior import geometric_trial_probabilities


def count_probabilities(trials):
    """p(n) of a staircase with these trial probabilities."""
    return [
        math.prod(trials[:n]) * (1 - trials[n] if n < len(trials) else 1)
        for n in range(len(trials) + 1)
    ]


def raw_values(config, num_iterations):
    """The only trial probability of a raw prior at each iteration."""
    schedule = config.build(1)
    return [schedule(iteration)(0) for iteration in range(num_iterations)]


@given(k=st.floats(1e-6, 0.999), num_steps=st.integers(1, 12))
def test_geometric_prior_is_geometric_over_counts(k, num_steps):
    trials = geometric_trial_probabilities(k, num_steps)
    assert all(0 < p < 1 for p in trials)
    counts = count_probabilities(trials)
    assert sum(counts) == pytest.approx(1)
    for n in range(num_steps):
        assert counts[n + 1] / counts[n] == pytest.approx(k, rel=1e-9)


def test_geometric_prior_survives_extreme_ratios():
    assert geometric_trial_probabilities(1e-15, 12) == pytest.approx([1e-15] * 12)


@pytest.mark.parametrize(
    ("kind", "middle"), [("linear", (0.8 + 0.002) / 2), ("exponential", math.sqrt(0.8 * 0.002))]
)
def test_annealing_is_clamped_and_passes_the_middle(kind, middle):
    config = AnnealedPriorConfig(
        kind=kind, success=0.8, raw=True, anneal_to=0.002, anneal_begin=100, anneal_duration=50
    )
    values = raw_values(config, 300)
    assert values[:101] == [0.8] * 101
    assert values[125] == pytest.approx(middle)
    assert values[150:] == [0.002] * 150
    assert all(b < a for a, b in itertools.pairwise(values[100:151]))


def test_annealing_may_rise():
    config = AnnealedPriorConfig(
        kind="linear", success=0.1, raw=True, anneal_to=0.5, anneal_begin=0, anneal_duration=4
    )
    assert raw_values(config, 6) == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.5])


@pytest.mark.parametrize("num_steps", [1, 3, 8])
def test_raw_prior_has_one_trial_probability(num_steps):
    config = ConstantPriorConfig(kind="constant", success=0.3, raw=True)
    prior = config.build(num_steps)(1000)
    assert [prior(t) for t in range(num_steps)] == [0.3] * num_steps


def test_schedule_anneals_the_geometric_ratio():
    config = AnnealedPriorConfig(
        kind="linear", success=0.5, raw=False, anneal_to=0.1, anneal_begin=0, anneal_duration=10
    )
    schedule = config.build(3)
    for iteration, k in ((0, 0.5), (5, 0.3), (10, 0.1)):
        expected = geometric_trial_probabilities(k, 3)
        assert [schedule(iteration)(t) for t in range(3)] == pytest.approx(expected)
