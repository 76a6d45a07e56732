"""Estimators of the evidence lower bound and its gradient, chosen by `inference`."""

from __future__ import annotations

from typing_extensions import assert_never

from air.inference.config import (
    CutsConfig,
    DreamsConfig,
    InferenceConfig,
    SearchConfig,
    SleepConfig,
)
from air.inference.estimator import Estimator
from air.inference.marginal import MarginalELBO
from air.inference.objective import Objective
from air.inference.reinforce import ReinforceELBO
from air.inference.search import CountSearch
from air.inference.sleep import SleepPhase


def build_estimator(config: InferenceConfig) -> Estimator:
    """Return the estimator that the configuration names."""
    match config.kind:
        case "marginal":
            return MarginalELBO()
        case "reinforce":
            return ReinforceELBO()
        case _:
            assert_never(config.kind)


def build_objective(
    inference: InferenceConfig, sleep: SleepConfig, search: SearchConfig
) -> Objective:
    """Return what the configuration says a step minimises."""
    phase = looking = None
    if isinstance(sleep, DreamsConfig):
        phase = SleepPhase(sleep.weight, sleep.batch_size, sleep.max_objects, sleep.codes)
    if isinstance(search, CutsConfig):
        looking = CountSearch(search.weight, search.num_cuts, search.num_windows, search.margin)
    return Objective(build_estimator(inference), phase, looking)
