"""Scenes unlike those of training: other counts, larger canvases (paper, section 3.2)."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from air.config.parsing import parse_as
from air.data.config import SceneConfig
from air.data.loading import load_data
from air.errors import ConfigError, DataError, NotKnownError
from air.evaluation.subject import Measurement, Subject, infer_in_batches
from air.fields import config_values
from air.model.air import AIR
from air.model.images import pictures, planes, to_unit

log = logging.getLogger(__name__)

_NUM_TRAIN = 64  # a data set has training scenes too; they are not used


def generalisation(subject: Subject) -> Iterator[tuple[str, Measurement]]:
    """Count in scenes that training never showed, with the same model and one step to spare.

    A model that takes images of any size sees larger canvases as they are. For one that does not,
    they are scaled down to the size of its own, and their objects with them.

    Yields:
        count_N_accuracy, count_N_mean: of scenes with N objects each, for the counts asked for and
            for those that the run held out (`data.held_out_counts`).
        canvas_S_accuracy: of scenes on canvases of S pixels, with the counts of training, or up to
            the number asked for; canvas_S_accuracy_at_N: of those of them that have N objects.

    Raises:
        NotKnownError: the run's data is not drawn, so nothing like it can be drawn either.
    """
    data, settings = subject.run.config.data, subject.config.generalisation
    if not isinstance(data, SceneConfig):
        raise NotKnownError("the run's data is not drawn here, so it cannot be varied")
    sizes = {"num_train": _NUM_TRAIN, "num_test": settings.num_images, "seed": data.seed + 1}
    equally = {"count_weights": None}
    for n in sorted({*settings.counts, *data.held_out_counts}):
        others = [1] if n == 0 else []  # max_objects is at least 1
        changes = {"min_objects": n, "max_objects": max(n, 1), "held_out_counts": others}
        if drawn := _drawn(f"count_{n}", data, {**sizes, **changes, **equally}):
            images, true = drawn
            count = _inferred(subject, images, n)
            yield f"count_{n}_accuracy", _share(count == true)
            yield f"count_{n}_mean", count.double().mean().item()
    most = settings.canvas_max_objects or data.max_objects
    weights = {} if most == data.max_objects else equally
    for size in settings.canvas_sizes:
        name, changes = f"canvas_{size}", {"canvas_size": size, "max_objects": most}
        if drawn := _drawn(name, data, {**sizes, **changes, **weights}):
            images, true = drawn
            right = _inferred(subject, shown(subject.run.air, images), most) == true
            yield f"{name}_accuracy", _share(right)
            for n in true.unique().tolist():
                yield f"{name}_accuracy_at_{n}", _share(right[true == n])


def _drawn(name: str, data: SceneConfig, changes: dict[str, Any]) -> tuple[Tensor, Tensor] | None:
    """Return images and counts of scenes like others but for a few keys; None if they cannot be."""
    try:
        scenes = load_data(parse_as(type(data), {**config_values(data), **changes})).test
    except (ConfigError, DataError) as error:  # such as more objects than fit; the rest can be
        log.warning("generalisation: %s not measured: %s", name, error)
        return None
    assert scenes.count is not None
    return scenes.images, scenes.count


def shown(air: AIR, images: Tensor) -> Tensor:
    """Return images as a model can look at them: as they are, or else scaled to its own size."""
    return images if images.shape[1] in air.image_sizes else scaled(images, air.x_size)


def scaled(images: Tensor, x_size: int) -> Tensor:
    """Scale images to x_size pixels, floats in [0, 1]; averages where it shrinks."""
    pixels = planes(to_unit(images, "cpu"))
    resized = F.interpolate(pixels, size=(x_size, x_size), mode="bilinear", antialias=True)
    return pictures(resized).clamp(0, 1)


def _inferred(subject: Subject, images: Tensor, most: int) -> Tensor:
    """Return the counts of images that have at most so many objects."""
    air, config = subject.run.air, subject.config
    num_steps = max(most + 1, air.num_steps)
    return infer_in_batches(air, images, config, "generalisation", num_steps).count


def _share(right: Tensor) -> float:
    return right.double().mean().item()
