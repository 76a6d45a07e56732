"""Scenes unlike those of training: other counts, larger canvases (paper, section 3.2)."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from air.config.parsing import parse_as
from air.data.config import DataConfig, SceneConfig
from air.data.loading import load_data
from air.data.scenes import Scenes
from air.errors import DataError, NotKnownError
from air.evaluation.subject import Measurement, Subject, infer_in_batches
from air.fields import config_values
from air.model.images import to_unit

log = logging.getLogger(__name__)

_NUM_TRAIN = 64  # a data set has training scenes too; they are not used


def generalisation(subject: Subject) -> Iterator[tuple[str, Measurement]]:
    """Count in scenes that training never showed, with the same model and one step to spare.

    Yields:
        count_N_accuracy, count_N_mean: of scenes with N objects each, for the counts asked for and
            for those that the run held out (`data.held_out_counts`).
        canvas_S_accuracy: of scenes on canvases of S pixels. The guide's networks have a fixed
            input, so these are scaled down to it, and their objects with them.

    Raises:
        NotKnownError: the run's data is not drawn, so nothing like it can be drawn either.
    """
    data, settings = subject.run.config.data, subject.config.generalisation
    if not isinstance(data, SceneConfig):
        raise NotKnownError("the run's data is not drawn from digits, so it cannot be varied")
    sizes = {"num_train": _NUM_TRAIN, "num_test": settings.num_images, "seed": data.seed + 1}
    for n in sorted({*settings.counts, *data.held_out_counts}):
        others = [1] if n == 0 else []  # max_objects is at least 1
        counts = {"min_objects": n, "max_objects": max(n, 1)}
        try:
            scenes = _drawn(data, **sizes, **counts, held_out_counts=others)
        except DataError as error:  # so many digits do not fit; the rest can be measured
            log.warning("generalisation: count_%d not measured: %s", n, error)
            continue
        count = _inferred(subject, scenes.images, max(n + 1, subject.run.air.num_steps))
        yield f"count_{n}_accuracy", _accuracy(count, scenes)
        yield f"count_{n}_mean", count.double().mean().item()
    for size in settings.canvas_sizes:
        scenes = _drawn(data, **sizes, canvas_size=size)
        images = scaled(scenes.images, subject.run.air.x_size)
        count = _inferred(subject, images, subject.run.air.num_steps)
        yield f"canvas_{size}_accuracy", _accuracy(count, scenes)


def _drawn(data: DataConfig, **changes: int | list[int]) -> Scenes:
    return load_data(parse_as(type(data), {**config_values(data), **changes})).test


def scaled(images: Tensor, x_size: int) -> Tensor:
    """Scale images (N, S, S) to (N, x_size, x_size), in [0, 1]; averages where it shrinks."""
    pixels = to_unit(images, "cpu").unsqueeze(1)
    resized = F.interpolate(pixels, size=(x_size, x_size), mode="bilinear", antialias=True)
    return resized.squeeze(1).clamp(0, 1)


def _inferred(subject: Subject, images: Tensor, num_steps: int) -> Tensor:
    air, config = subject.run.air, subject.config
    return infer_in_batches(air, images, config, "generalisation", num_steps).count


def _accuracy(count: Tensor, scenes: Scenes) -> float:
    assert scenes.count is not None
    return torch.eq(count, scenes.count).double().mean().item()
