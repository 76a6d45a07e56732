"""The best model of a run so far: which it is, and its checkpoint as a file of its own.

checkpoints/best.pt    the checkpoint, another name of the numbered file; stays when that is dropped
checkpoints/best.json  {"iteration": …, "metric": …, "num_images": …}
"""

from __future__ import annotations

import json
import math
import os
import shutil
from dataclasses import asdict
from pathlib import Path

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from air.checkpoint import BEST_CHECKPOINT, FOLDER
from air.errors import CheckpointError

_FILE = "best.json"


@dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid"))
class Best:
    """The best look of a run.

    Attributes:
        iteration: optimiser steps taken.
        metric: the held-out count accuracy or, without truth, the ELBO per image.
        num_images: how many held-out images were looked at.
    """

    iteration: int
    metric: float
    num_images: int


class BestModel:
    """Follows which model of a run is the best.

    Only looks at the same images are compared: those on the way, at the first `train.eval_size` of
    the held-out images. The last model, which is looked at with all of them, is compared by what it
    does on these first ones alone. Of equal models the earlier one is the best. ELBOs are each
    taken with the presence prior of their own iteration.

    Args:
        run_dir: the run's folder; a resumed run goes on with the best it had.
        num_images: held-out images in a look that counts. What was best by another number of images
            (a resumed run may change it) says nothing, and is replaced by the next look.
        counts_known: whether the metric is the count accuracy, else the ELBO.

    Raises:
        CheckpointError: the run's best.json is damaged.
    """

    def __init__(self, run_dir: Path, num_images: int, counts_known: bool) -> None:
        self._folder = run_dir / FOLDER
        self._num_images = num_images
        self._name = "count_accuracy" if counts_known else "elbo"
        known = read_best(run_dir)
        self.best = known if known and known.num_images == num_images else None

    def see(self, iteration: int, metric: float) -> bool:
        """Take note of a look.

        Returns:
            Whether this model is the best so far; its checkpoint is then to be given to `keep`.
        """
        if not math.isfinite(metric) or (self.best and metric <= self.best.metric):
            return False
        self.best = Best(iteration, metric, self._num_images)
        return True

    def figures(self) -> dict[str, float | int]:
        """Return what the best model so far did, by the names that trackers know."""
        if self.best is None:
            return {}
        return {f"best/{self._name}": self.best.metric, "best/iteration": self.best.iteration}

    def keep(self, checkpoint: Path) -> None:
        """Keep the checkpoint of the best model; each file is there whole or not at all.

        A crash between a numbered checkpoint and this, or within, is made good on resuming:
        best.json, which comes last, does not name that iteration then.
        """
        assert self.best is not None
        temporary = self._folder / f"{BEST_CHECKPOINT}.partial"
        temporary.unlink(missing_ok=True)
        try:
            os.link(checkpoint, temporary)
        except OSError:  # a file system without hard links
            shutil.copyfile(checkpoint, temporary)
        os.replace(temporary, self._folder / BEST_CHECKPOINT)
        temporary.unlink(missing_ok=True)  # replacing a file with itself leaves both names
        written = self._folder / f"{_FILE}.partial"
        written.write_text(json.dumps(asdict(self.best)) + "\n", encoding="utf-8")
        os.replace(written, self._folder / _FILE)


def read_best(run_dir: Path) -> Best | None:
    """Return the best look of a run, or None if there has been none.

    Raises:
        CheckpointError: the run's best.json is damaged.
    """
    path = run_dir / FOLDER / _FILE
    if not path.exists():
        return None
    try:
        return TypeAdapter(Best).validate_json(path.read_bytes())
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise CheckpointError(f"{path}: damaged: {reason}; the run can go on without it") from None
