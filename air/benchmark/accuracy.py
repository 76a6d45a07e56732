"""How soon training reaches an accuracy, seed by seed."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pyro
import torch

from air.benchmark.workloads import build_trainer
from air.config.schema import Config
from air.data.scenes import Data, Scenes
from air.errors import DataError
from air.model.air import AIR

_CHUNK = 500  # images at a time, which bounds memory


@dataclass(frozen=True)
class AccuracyRow:
    """One training run.

    Attributes:
        seed: of the run.
        seconds_to_target: of training, at the first evaluation that reached it; None: never.
        iterations_to_target: likewise.
        seconds: of training, in all.
        accuracy: held-out count accuracy at the end.
        evaluations: (iteration, seconds, accuracy) of each.
    """

    seed: int
    seconds_to_target: float | None
    iterations_to_target: int | None
    seconds: float
    accuracy: float
    evaluations: tuple[tuple[int, float, float], ...]


def measure_accuracy(
    configs: Iterable[Config], data: Data, target: float, evaluate_every: int
) -> Iterator[AccuracyRow]:
    """Train once with every configuration; they differ in their seeds.

    Args:
        configs: of the runs.
        data: with the true counts of the held-out images.
        target: held-out count accuracy, in [0, 1].
        evaluate_every: iterations between evaluations on all held-out images, which do not count as
            training time.

    Raises:
        DataError: the counts are not known.
    """
    for config in configs:
        yield _train(config, data, target, evaluate_every)


def _train(config: Config, data: Data, target: float, evaluate_every: int) -> AccuracyRow:
    evaluations: list[tuple[int, float, float]] = []
    seconds = 0.0
    with pyro.validation_enabled(False), pyro.get_param_store().scope():
        trainer = build_trainer(config, data)
        for iteration in range(1, config.train.num_iterations + 1):
            started = time.perf_counter()
            trainer.step()  # the first one records, which is training time too
            if trainer.device.type == "cuda":
                torch.cuda.synchronize()
            seconds += time.perf_counter() - started
            if iteration % evaluate_every == 0 or iteration == config.train.num_iterations:
                evaluations.append((iteration, seconds, count_accuracy(trainer.air, data.test)))
    reached = next((each for each in evaluations if each[2] >= target), None)
    return AccuracyRow(
        seed=config.seed,
        seconds_to_target=reached[1] if reached else None,
        iterations_to_target=reached[0] if reached else None,
        seconds=seconds,
        accuracy=evaluations[-1][2],
        evaluations=tuple(evaluations),
    )


def count_accuracy(air: AIR, scenes: Scenes) -> float:
    """Return the share of images whose most probable count is right.

    Raises:
        DataError: the counts are not known.
    """
    if scenes.count is None:
        raise DataError("data: must have the true counts of the held-out images, but has none")
    chunks = scenes.images.split(_CHUNK)
    count = torch.cat([air.infer_scenes(images).count for images in chunks]).cpu()
    return (count == scenes.count).double().mean().item()
