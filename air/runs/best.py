"""The best model of a run so far: which it is, and its checkpoint as a file of its own.

checkpoints/best.pt    the checkpoint, another name of the numbered file; stays when that is dropped
checkpoints/best.json  {"iteration": …, "metric": …, "num_images": …}

Every checkpoint also holds what was best when it was written, so that a run which goes back to it
knows.
"""

from __future__ import annotations

import json
import logging
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from air.errors import CheckpointError
from air.runs.checkpoint import BEST_CHECKPOINT, FOLDER, checkpoint_path, read_checkpoint
from air.runs.files import link_whole, write_whole

log = logging.getLogger(__name__)

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
        run_dir: the run's folder.
        num_images: held-out images in a look that counts. What was best by another number of images
            (a resumed run may change it) says nothing, and is replaced by the next look.
        counts_known: whether the metric is the count accuracy, else the ELBO.
    """

    def __init__(self, run_dir: Path, num_images: int, counts_known: bool) -> None:
        self._run_dir = run_dir
        self._num_images = num_images
        self._name = "count_accuracy" if counts_known else "elbo"
        self._file = run_dir / FOLDER / BEST_CHECKPOINT
        self._note = run_dir / FOLDER / _FILE
        self._kept: int | None = None  # the iteration of best.pt
        self.best: Best | None = None

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

        A crash between a numbered checkpoint and this, or within, is made good by `restore`.

        Raises:
            WriteError: a file cannot be written.
        """
        assert self.best is not None
        if self._kept is not None and self._kept < self.best.iteration:
            # Under its own name again until the next checkpoint drops it: should the new one turn
            # out damaged, the run goes back to before it, and this is the best then.
            before = checkpoint_path(self._run_dir, self._kept)
            if not before.exists():
                link_whole(self._file, before)
        link_whole(checkpoint, self._file)
        write_whole(self._note, (json.dumps(asdict(self.best)) + "\n").encode())
        self._kept = self.best.iteration

    def note(self) -> dict[str, Any] | None:
        """Return what a checkpoint must hold for `restore`."""
        return None if self.best is None else asdict(self.best)

    def restore(self, noted: dict[str, Any] | None, iteration: int) -> None:
        """Go back to what was best at a checkpoint, and make both files say so.

        Args:
            noted: what was best, according to the checkpoint.
            iteration: the checkpoint's; what was found later will be found again.

        Raises:
            WriteError: a file cannot be written.
        """
        on_disk = self._on_disk()
        known = [best for best in (Best(**noted) if noted else None, on_disk) if best]
        known = [
            best
            for best in known
            if best.iteration <= iteration and best.num_images == self._num_images
        ]
        self.best = max(known, key=lambda best: best.iteration, default=None)
        if self.best is not None:
            self._make_good(on_disk)
        elif on_disk is not None and on_disk.iteration > iteration:
            self._file.unlink(missing_ok=True)
            self._note.unlink()

    def _on_disk(self) -> Best | None:
        try:
            return read_best(self._run_dir)
        except CheckpointError as error:
            log.warning("%s", error)
            return None

    def _make_good(self, on_disk: Best | None) -> None:
        """See to it that best.pt and best.json are those of the best."""
        assert self.best is not None
        wanted = self.best.iteration
        if on_disk == self.best and _iteration(self._file) == wanted:
            self._kept = wanted
            return
        for path in (checkpoint_path(self._run_dir, wanted), self._file):
            if _iteration(path) == wanted:
                return self.keep(path)
        log.warning(
            "%s: damaged or lost, it was the best, of iteration %d; the best from now on is kept",
            self._file,
            wanted,
        )
        self.best = None


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


def _iteration(checkpoint: Path) -> int | None:
    try:
        return read_checkpoint(checkpoint).iteration
    except CheckpointError:
        return None
