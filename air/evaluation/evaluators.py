"""What can be measured of a trained model, a file for each; `evaluators` chooses among them."""

from __future__ import annotations

from typing_extensions import assert_never

from air.evaluation.bound import bound
from air.evaluation.boxes import boxes
from air.evaluation.config import EvaluatorName
from air.evaluation.counts import counts
from air.evaluation.downstream import downstream
from air.evaluation.elbo import elbo
from air.evaluation.generalisation import generalisation
from air.evaluation.reconstruction import reconstruction
from air.evaluation.segmentation import segmentation
from air.evaluation.subject import Evaluator, Subject, build_subject

__all__ = ["Evaluator", "Subject", "build_evaluator", "build_subject"]


def build_evaluator(name: EvaluatorName) -> Evaluator:
    """Return the evaluator of a name; a new one is one `case` here."""
    match name:
        case "counts":
            return counts
        case "elbo":
            return elbo
        case "bound":
            return bound
        case "reconstruction":
            return reconstruction
        case "boxes":
            return boxes
        case "segmentation":
            return segmentation
        case "generalisation":
            return generalisation
        case "downstream":
            return downstream
        case _:
            assert_never(name)
