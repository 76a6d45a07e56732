"""Which pixel belongs to which object, where the data has masks."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score
from torch import Tensor

from air.errors import NotKnownError
from air.evaluation.subject import Measurement, Subject


def segmentation(subject: Subject) -> Iterator[tuple[str, Measurement]]:
    """Compare what each pixel mostly shows with the true masks.

    Yields:
        foreground_ari: adjusted Rand index over the pixels of true objects (1: the same parts, 0:
            chance), mean over images with at least two objects.
        mean_iou: intersection over union with the true object, over the best matching in each
            image; a true object without a match counts 0.

    Raises:
        NotKnownError: the data has no masks, or no image with two objects.
    """
    masks = subject.scenes.masks
    if masks is None:
        raise NotKnownError("the data has no masks")
    indices: list[float] = []
    overlaps: list[Tensor] = []
    for true, inferred in zip(masks, subject.posterior.segmentation, strict=True):
        foreground = true > 0
        overlaps.append(matched_overlaps(true, inferred))
        if len(overlaps[-1]) >= 2:
            indices.append(
                adjusted_rand_score(true[foreground].numpy(), inferred[foreground].numpy())
            )
    if not indices:
        raise NotKnownError("the data has no image whose masks show two objects")
    yield "foreground_ari", sum(indices) / len(indices)
    yield "mean_iou", torch.cat(overlaps).mean().item()


def matched_overlaps(true: Tensor, inferred: Tensor) -> Tensor:
    """Return the intersection over union of each true object with its match, 0 without one.

    Args:
        true: (x_size, x_size), the object that each pixel belongs to; 0 for none.
        inferred: likewise.

    Returns:
        (objects,), in the matching with the largest sum.
    """
    ours, theirs = (_masks(parts) for parts in (true, inferred))  # (objects, pixels) each
    both = ours @ theirs.mT
    either = ours.sum(-1, keepdim=True) + theirs.sum(-1) - both
    overlap = both / either  # of masks that are not empty
    rows, columns = linear_sum_assignment(overlap.numpy(), maximize=True)
    result = torch.zeros(len(ours))
    result[rows] = overlap[rows, columns]
    return result


def _masks(parts: Tensor) -> Tensor:
    present = parts.unique()
    return (parts.flatten() == present[present > 0].unsqueeze(-1)).float()
