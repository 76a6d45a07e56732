"""How close the reconstruction comes to the image."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torchmetrics.functional.image import (
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)

from air.evaluation.subject import Measurement, Subject
from air.model.images import planes, to_unit


def reconstruction(subject: Subject) -> Iterator[tuple[str, Measurement]]:
    """Compare images with the canvases of their inferred objects.

    Yields:
        squared_error: mean over pixels, which are in [0, 1].
        psnr: peak signal-to-noise ratio of all images together, in dB.
        ssim: structural similarity, mean over images.
    """
    images = planes(to_unit(subject.scenes.images, "cpu"))
    canvases = planes(subject.posterior.reconstruction)
    yield "squared_error", (images - canvases).square().mean().item()
    yield "psnr", peak_signal_noise_ratio(canvases, images, data_range=1.0).item()
    similarities = [
        structural_similarity_index_measure(canvas, image, data_range=1.0, reduction="none")
        for canvas, image in zip(
            canvases.split(subject.config.batch_size),
            images.split(subject.config.batch_size),
            strict=True,
        )
    ]
    yield (
        "ssim",
        torch.cat([torch.as_tensor(part).reshape(-1) for part in similarities]).mean().item(),
    )
