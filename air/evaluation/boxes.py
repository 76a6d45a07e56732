"""Where the objects are: windows, and tight boxes around their content, against the true boxes."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torchmetrics.detection import MeanAveragePrecision
from torchvision.ops import box_iou, masks_to_boxes

from air.errors import NotKnownError
from air.evaluation.subject import Measurement, Subject


def boxes(subject: Subject) -> Iterator[tuple[str, Measurement]]:
    """Compare inferred with true boxes.

    Windows are meant to be larger than what they hold, so their overlap with tight true boxes is
    bounded; `tight_…` are the same metrics for the bright pixels of each object's own canvas.

    Yields:
        mean_iou: intersection over union, over pairs of the best matching in each image.
        precision, recall: of inferred and of true boxes, those in a pair with IoU 0.5 or more.
        average_precision, average_precision_50: COCO's, over IoU 0.5 to 0.95, and at 0.5.

    Raises:
        NotKnownError: the data has no boxes.
    """
    true = subject.scenes.boxes
    if true is None:
        raise NotKnownError("the data has no boxes")
    truth = [rows[~rows.isnan().any(-1)] for rows in true]
    present = subject.posterior.z_pres > 0
    # The probability that there is a t-th object: more than t of them.
    scores = 1 - subject.posterior.count_probs.cumsum(-1)[:, :-1]  # (N, T)
    tight = torch.cat(
        [tight_boxes(objects, subject.posterior.boxes[part], subject.config.boxes.brightness)
         for part, objects in subject.objects()]
    )  # fmt: skip
    for prefix, inferred in (("", subject.posterior.boxes), ("tight_", tight)):
        found = [rows[mask] for rows, mask in zip(inferred, present, strict=True)]
        for name, value in matched(found, truth).items():
            yield prefix + name, value
        yield from (
            (prefix + name, value) for name, value in _average_precision(inferred, scores, truth)
        )


def tight_boxes(objects: Tensor, windows: Tensor, brightness: float) -> Tensor:
    """Return the boxes of the bright pixels, or the windows where there are none.

    Args:
        objects: (n, T, x_size, x_size), each object on a canvas of its own.
        windows: (n, T, 4).
        brightness: pixels above it count.

    Returns:
        (n, T, 4), x0 y0 x1 y1 in pixels; x1 and y1 are exclusive.
    """
    bright = (objects > brightness).flatten(0, 1)  # (n T, x_size, x_size)
    result = windows.flatten(0, 1).clone()
    some = bright.flatten(1).any(-1)
    if some.any():
        result[some] = masks_to_boxes(bright[some]) + torch.tensor([0.0, 0.0, 1.0, 1.0])
    return result.view_as(windows)


def matched(found: list[Tensor], truth: list[Tensor], threshold: float = 0.5) -> dict[str, float]:
    """Match the boxes of each image so that the sum of their overlaps is largest.

    Args:
        found: for each image (n, 4).
        truth: for each image (m, 4).
        threshold: IoU of a pair that counts as right.

    Returns:
        mean_iou over pairs, precision, recall; nan where there is nothing to divide by.
    """
    overlaps: list[Tensor] = []
    for inferred, true in zip(found, truth, strict=True):
        if len(inferred) and len(true):
            overlap = box_iou(inferred, true)  # (n, m)
            rows, columns = linear_sum_assignment(overlap.numpy(), maximize=True)
            overlaps.append(overlap[torch.from_numpy(rows), torch.from_numpy(columns)])
    pairs = torch.cat(overlaps) if overlaps else torch.zeros(0)
    right = float((pairs >= threshold).sum())
    return {
        "mean_iou": pairs.mean().item(),
        "precision": _share(right, sum(map(len, found))),
        "recall": _share(right, sum(map(len, truth))),
    }


def _share(part: float, whole: int) -> float:
    return part / whole if whole else float("nan")


def _average_precision(
    inferred: Tensor, scores: Tensor, truth: list[Tensor]
) -> Iterator[tuple[str, float]]:
    metric = MeanAveragePrecision(backend="faster_coco_eval")
    labels = torch.zeros(inferred.shape[1], dtype=torch.long)  # objects are of one kind
    metric.update(
        [
            {"boxes": rows, "scores": score, "labels": labels}
            for rows, score in zip(inferred, scores, strict=True)
        ],
        [{"boxes": rows, "labels": torch.zeros(len(rows), dtype=torch.long)} for rows in truth],
    )
    logging.getLogger("faster_coco_eval").setLevel(logging.WARNING)  # it logs tables of its own
    result = metric.compute()
    yield "average_precision", result["map"].item()
    yield "average_precision_50", result["map_50"].item()
