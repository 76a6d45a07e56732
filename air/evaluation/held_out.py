"""How well a model does on images that it was not trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from air.data.scenes import Scenes
from air.inference.estimator import Estimator
from air.inference.marginal import MarginalELBO
from air.inference.reinforce import ReinforceELBO
from air.model.air import AIR
from air.model.images import to_unit
from air.model.parameters import OwnParameters
from air.model.presence import PresencePrior
from air.tracking.values import ConfusionMatrix, Histogram

_CHUNK = 250  # images at a time, which bounds memory
_NOISE_SEED = 0  # of the draws in the ELBO: every evaluation uses the same


@dataclass(frozen=True)
class Evaluation:
    """What was measured on held-out images.

    Attributes:
        elbo_parts: elbo, likelihood, kl_pres, kl_where, kl_what; per image, in nats.
        count: (N,) the most probable number of objects in each image.
        confusion: true against inferred counts; None if the truth is not known.
        count_accuracy: share of images whose count is right; None if the truth is not known.
    """

    elbo_parts: dict[str, float]
    count: Tensor
    confusion: ConfusionMatrix | None
    count_accuracy: float | None

    @property
    def metric(self) -> float:
        """The count accuracy or, without truth, the ELBO: what sweepers maximise."""
        return self.elbo_parts["elbo"] if self.count_accuracy is None else self.count_accuracy

    def in_short(self) -> dict[str, float]:
        """Return what the console has room for."""
        metrics = {"val_elbo": self.elbo_parts["elbo"]}
        if self.count_accuracy is not None:
            metrics["count_accuracy"] = self.count_accuracy
        return metrics

    def metrics(self, num_steps: int) -> dict[str, float | ConfusionMatrix | Histogram]:
        """Return all that was measured, by the names that trackers know.

        Args:
            num_steps: the largest number of objects that could be inferred.
        """
        values: dict[str, float | ConfusionMatrix | Histogram] = {
            f"val/{name}": value for name, value in self.elbo_parts.items()
        }
        inferred = np.bincount(self.count.numpy(), minlength=num_steps + 1)
        values["val/inferred_count"] = Histogram(inferred)
        if self.count_accuracy is not None and self.confusion is not None:
            values["val/count_accuracy"] = self.count_accuracy
            values["val/confusion"] = self.confusion
        return values


def evaluate(air: AIR, scenes: Scenes, z_pres_prior_p: PresencePrior) -> Evaluation:
    """Measure a model, without touching the random state of its training.

    Args:
        air: what to measure.
        scenes: images it was not trained on.
        z_pres_prior_p: the presence prior in the ELBO.
    """
    count = torch.cat(
        [air.infer_scenes(images).count for images in scenes.images.split(_CHUNK)]
    ).cpu()
    parts = elbo_parts(air, scenes.images, z_pres_prior_p)
    if scenes.count is None:
        return Evaluation(parts, count, None, None)
    confusion = confusion_matrix(scenes.count, count, air.num_steps)
    accuracy = (count == scenes.count).double().mean().item()
    return Evaluation(parts, count, confusion, accuracy)


def confusion_matrix(true: Tensor, inferred: Tensor, num_steps: int) -> ConfusionMatrix:
    """Count images by their true (rows) and inferred (columns, 0…num_steps) number of objects."""
    rows, columns = int(true.max()) + 1, num_steps + 1
    cells = np.bincount((true * columns + inferred).numpy(), minlength=rows * columns)
    return ConfusionMatrix(cells.reshape(rows, columns))


def elbo_parts(air: AIR, images: Tensor, z_pres_prior_p: PresencePrior) -> dict[str, float]:
    """Estimate the ELBO and its parts, per image in nats, with the same draws every time.

    Args:
        air: what to measure.
        images: (N, x_size, x_size), uint8 or floats in [0, 1].
        z_pres_prior_p: the presence prior, step -> trial probability.
    """
    masked = air.model.use_masking
    estimator: Estimator = MarginalELBO() if masked else ReinforceELBO()
    totals: dict[str, Tensor] = {}
    generators = torch.random.fork_rng(devices=[air.device] if air.device.type == "cuda" else [])
    with generators, OwnParameters(), torch.no_grad():
        torch.manual_seed(_NOISE_SEED)
        for chunk in images.split(_CHUNK):
            batch = to_unit(chunk, air.device, air.dtype)
            estimate = estimator.estimate(
                air.model, air.guide, batch, z_pres_prior_p=z_pres_prior_p
            )
            for name, value in estimate.metrics.items():
                totals[name] = totals[name] + value if name in totals else value
    return {name: total.item() / len(images) for name, total in totals.items()}
