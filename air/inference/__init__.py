"""Estimators of the evidence lower bound and its gradient, chosen by `inference`."""

from __future__ import annotations

from typing_extensions import assert_never

from air.config import InferenceConfig
from air.inference.estimator import Estimator
from air.inference.gradients import Gradients, build_gradients
from air.inference.marginal import MarginalELBO
from air.inference.reinforce import ReinforceELBO

__all__ = [
    "Estimator",
    "Gradients",
    "MarginalELBO",
    "ReinforceELBO",
    "build_estimator",
    "build_gradients",
]


def build_estimator(config: InferenceConfig) -> Estimator:
    """Return the estimator that the configuration names."""
    match config.kind:
        case "marginal":
            return MarginalELBO()
        case "reinforce":
            return ReinforceELBO()
        case _:
            assert_never(config.kind)
