"""Which pixel belongs to which object, where the data has masks."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from sklearn.metrics import adjusted_rand_score
from torch import Tensor

from air.errors import NotKnownError
from air.evaluation.subject import Measurement, Subject


def segmentation(subject: Subject) -> Iterator[tuple[str, Measurement]]:
    """Compare the objects' own pixels with the true masks.

    Yields:
        foreground_ari: adjusted Rand index over the pixels of true objects (1: the same parts, 0:
            chance), mean over images with at least two objects.

    Raises:
        NotKnownError: the data has no masks, or no image with two objects.
    """
    masks = subject.scenes.masks
    if masks is None:
        raise NotKnownError("the data has no masks")
    indices: list[float] = []
    for part, objects in subject.objects():
        parts = assigned(objects, subject.posterior.z_pres[part])
        for true, inferred in zip(masks[part], parts, strict=True):
            foreground = true > 0
            if len(true[foreground].unique()) >= 2:
                indices.append(
                    adjusted_rand_score(true[foreground].numpy(), inferred[foreground].numpy())
                )
    if not indices:
        raise NotKnownError("the data has no image whose masks show two objects")
    yield "foreground_ari", sum(indices) / len(indices)


def assigned(objects: Tensor, z_pres: Tensor) -> Tensor:
    """Return for each pixel the present object that is brightest there, 1…T, or 0 for none.

    Args:
        objects: (n, T, x_size, x_size), each on a canvas of its own.
        z_pres: (n, T).
    """
    seen = objects * z_pres[..., None, None]
    brightest, which = seen.max(1)  # (n, x_size, x_size)
    return torch.where(brightest > 0, which + 1, 0)
