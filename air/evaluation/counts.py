"""How many objects: accuracy, its uncertainty, and how well q(n) is calibrated."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from sklearn.calibration import calibration_curve
from sklearn.metrics import confusion_matrix
from torch.nn import functional as F
from torchmetrics.functional.classification import multiclass_calibration_error

from air.errors import NotKnownError
from air.evaluation.interval import mean_and_interval
from air.evaluation.subject import Measurement, Subject

_BINS = 15


def counts(subject: Subject) -> Iterator[tuple[str, Measurement]]:
    """Compare inferred with true counts.

    Yields:
        accuracy: of the most probable count.
        accuracy_of_a_sample: of one draw from q(n).
        accuracy_at_n: among images with n objects. Each of these comes with the ends of its 95 %
            bootstrap interval, `…_low` and `…_high`.
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
    seed = subject.config.seed
    yield from mean_and_interval("accuracy", correct, seed)
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.multinomial(probabilities, 1, generator=generator).squeeze(-1)
    yield from mean_and_interval("accuracy_of_a_sample", (drawn == true).double().numpy(), seed)
    for n in true.unique().tolist():
        yield from mean_and_interval(f"accuracy_at_{n}", correct[(true == n).numpy()], seed)

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
