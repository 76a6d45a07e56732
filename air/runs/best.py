"""The best model of a run so far: which it is, and its checkpoint, `checkpoints/best.pt`.

The checkpoint says itself how good it is. A run is resumed from it where it is the newest, so never
from before its best evaluation.
"""

from __future__ import annotations

import logging
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from air.errors import CheckpointError
from air.runs.checkpoint import best_checkpoint, read_checkpoint

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Best:
    """The best evaluation of a run.

    Attributes:
        iteration: optimiser steps taken.
        metric: the held-out count accuracy or, without truth, the ELBO per image.
        num_images: how many held-out images it took.
    """

    iteration: int
    metric: float
    num_images: int


class BestModel:
    """Follows which model of a run is the best.

    Only evaluations of the same images are compared: those on the way take the first
    `train.eval_size` of the held-out images. The last model, which is evaluated with all of them,
    is compared by what it does on these first ones alone. Of equal models the earlier one is the
    best. ELBOs are each taken with the presence prior of their own iteration.

    Args:
        run_dir: the run's folder.
        num_images: held-out images of evaluations that count. What was best by another number of
            images (a resumed run may change it) says nothing, and is replaced by the next.
        counts_known: whether the metric is the count accuracy, else the ELBO.
    """

    def __init__(self, run_dir: Path, num_images: int, counts_known: bool) -> None:
        self._num_images = num_images
        self._name = "count_accuracy" if counts_known else "elbo"
        self.path = best_checkpoint(run_dir)
        self.best: Best | None = None

    def see(self, iteration: int, metric: float) -> bool:
        """Record an evaluation.

        Returns:
            Whether this model is the best so far; its checkpoint is then to be written to `path`.
        """
        if not math.isfinite(metric) or (self.best and metric <= self.best.metric):
            return False
        self.best = Best(iteration, metric, self._num_images)
        return True

    def metrics(self) -> dict[str, float | int]:
        """Return what the best model so far did, by the names that trackers know."""
        if self.best is None:
            return {}
        return {f"best/{self._name}": self.best.metric, "best/iteration": self.best.iteration}

    def note(self) -> dict[str, Any] | None:
        """Return what a checkpoint must hold for `restore`."""
        return None if self.best is None else asdict(self.best)

    def restore(self, noted: dict[str, Any] | None) -> None:
        """Go back to what is best according to best.pt; warn if that is damaged or lost.

        Args:
            noted: what was best when the checkpoint was written that the run is resumed from.
        """
        if noted is None:
            return
        try:
            kept = read_checkpoint(self.path).best
            if kept is None or kept["iteration"] < noted["iteration"]:
                raise CheckpointError(f"{self.path}: is not the run's best model")
        except CheckpointError as error:
            lost = noted["iteration"]
            log.warning("%s; it was of iteration %d; the best from now on is kept", error, lost)
            return
        if kept["num_images"] == self._num_images:
            self.best = Best(**kept)
