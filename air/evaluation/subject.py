"""What every evaluator is given: a trained run, held-out scenes, and what was inferred in them."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from air.data.loading import load_data
from air.data.scenes import Scenes, sampled
from air.errors import needs_extra
from air.evaluation.config import EvaluateConfig, EvaluatorName
from air.model.air import AIR
from air.model.posterior import Posterior, concatenated
from air.runs.trained import TrainedRun

Measurement = float | int | list[list[int]] | list[list[float]]


@dataclass(frozen=True)
class Subject:
    """A trained model and what it says about held-out scenes.

    Attributes:
        run: with the model.
        scenes: N held-out scenes, with what is known of their truth.
        posterior: what was inferred, from posterior means.
        config: the evaluators' settings.
    """

    run: TrainedRun
    scenes: Scenes
    posterior: Posterior
    config: EvaluateConfig

    def objects(self) -> Iterator[tuple[slice, Tensor]]:
        """Yield slices of the scenes and the pixels that objects take, (n, T, x_size, x_size).

        Absent objects have theirs too.
        """
        model, posterior, x_size = self.run.air.model, self.posterior, self.scenes.x_size
        for start in range(0, len(self.scenes), self.config.batch_size):
            part = slice(start, start + self.config.batch_size)
            with torch.no_grad():
                yield part, model.coverage(posterior.z_where[part], posterior.z_what[part], x_size)


# Yields names and values; the evaluator's own name is put before them.
Evaluator = Callable[[Subject], Iterator[tuple[str, Measurement]]]


def load_evaluator(name: EvaluatorName) -> Evaluator:
    """Return an evaluator: the function of its name in the module of its name.

    Raises:
        MissingExtraError: a package that it needs is not installed.
    """
    with needs_extra("evaluate"):
        module = importlib.import_module(f"{__package__}.{name}")
    evaluator: Evaluator = getattr(module, name)
    return evaluator


def build_subject(run: TrainedRun, config: EvaluateConfig) -> Subject:
    """Load the scenes and infer what is in them.

    Raises:
        ConfigError: the model cannot look at images of their size or with their channels, or its
            likelihood is not one of such images.
        DataError: the data cannot be read.
    """
    scenes = load_data(config.data or run.config.data).test.subset(slice(config.num_images))
    run.check_images(scenes.x_size, scenes.num_channels)
    run.config.likelihood.check_images(functools.partial(sampled, scenes))
    posterior = infer_in_batches(run.air, scenes.images, config, "inferring")
    return Subject(run, scenes, posterior, config)


def infer_in_batches(
    air: AIR, images: Tensor, config: EvaluateConfig, what: str, num_steps: int | None = None
) -> Posterior:
    """Call `model.infer` on some images at a time, with a progress bar.

    Args:
        air: a trained model.
        images: (N, x_size, x_size) or (N, x_size, x_size, 3).
        config: how many at a time and, unless given, how many steps.
        what: is being done, for the bar.
        num_steps: the most objects to look for.
    """
    steps = num_steps or config.num_steps
    parts = [
        air.infer_scenes(chunk, steps)
        for chunk in tqdm(images.split(config.batch_size), desc=what, leave=False)
    ]
    return concatenated(parts)
