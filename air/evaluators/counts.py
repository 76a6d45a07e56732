"""How many objects: accuracy, its uncertainty, and how well q(n) knows what it does not know."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import bootstrap
from sklearn.calibration import calibration_curve
from sklearn.metrics import confusion_matrix
from torch.nn import functional as F
from torchmetrics.functional.classification import multiclass_calibration_error

from air.errors import NotKnownError
from air.evaluators.subject import Subject, Value

_BINS = 15
_RESAMPLES = 1000


def counts(subject: Subject) -> Iterator[tuple[str, Value]]:
    """Compare inferred with true counts.

    Yields:
        accuracy: of the most probable count, with the ends of its 95 % bootstrap interval.
        accuracy_of_a_sample: of one draw from q(n).
        accuracy_at_n: among images with n objects.
        calibration_error: expected |accuracy - confidence| over 15 bins of confidence.
        reliability: mean confidence and accuracy of each bin that holds images.
        confusion: true (rows) against inferred (columns) counts, both from 0.

    Raises:
        NotKnownError: the data has no counts.
    """
    true = subject.scenes.count
    if true is None:
        raise NotKnownError("the data has no counts")
    probabilities, inferred = subject.posterior.count_probs, subject.posterior.count
    correct = (inferred == true).double().numpy()
    yield "accuracy", float(correct.mean())
    low, high = interval(correct, subject.config.seed)
    yield "accuracy_low", low
    yield "accuracy_high", high

    generator = torch.Generator().manual_seed(subject.config.seed)
    drawn = torch.multinomial(probabilities, 1, generator=generator).squeeze(-1)
    yield "accuracy_of_a_sample", (drawn == true).double().mean().item()
    for n in true.unique().tolist():
        yield f"accuracy_at_{n}", float(correct[(true == n).numpy()].mean())

    # Counts beyond the model's steps are true classes too, of probability 0.
    num_classes = max(probabilities.shape[-1], int(true.max()) + 1)
    padded = F.pad(probabilities, (0, num_classes - probabilities.shape[-1]))
    error = multiclass_calibration_error(padded, true, num_classes, n_bins=_BINS, norm="l1")
    yield "calibration_error", error.item()
    confidence = probabilities.amax(-1).clamp(0, 1).numpy()
    accuracies, confidences = calibration_curve(correct, confidence, n_bins=_BINS)
    yield "reliability", np.stack([confidences, accuracies], -1).tolist()
    yield (
        "confusion",
        confusion_matrix(true.numpy(), inferred.numpy(), labels=range(num_classes)).tolist(),
    )


def interval(values: NDArray[np.float64], seed: int) -> tuple[float, float]:
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
