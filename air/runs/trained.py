"""A run that has been trained, or still is: its model and everything needed to look at it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from air.config.parsing import parse_config
from air.config.schema import Config
from air.fields import WhichCheckpoint
from air.model.air import AIR
from air.model.count_prior import build_presence_schedule
from air.model.presence import PresencePrior
from air.runs.checkpoint import load_weights, open_checkpoint
from air.runs.folder import read_config


@dataclass(frozen=True)
class TrainedRun:
    """A checkpoint of a run.

    Attributes:
        folder: the run's.
        config: what the run is.
        model: in evaluation mode, on the CPU.
        iteration: optimiser steps taken.
        z_pres_prior_p: the presence prior of that iteration, step -> trial probability.
    """

    folder: Path
    config: Config
    model: AIR
    iteration: int
    z_pres_prior_p: PresencePrior


def open_run(folder: str | Path, which: WhichCheckpoint = "latest") -> TrainedRun:
    """Read the run that the key `run` names; one that is still being trained will do.

    Args:
        folder: the run's.
        which: the last checkpoint, or the one that did best on held-out images.

    Raises:
        RunFolderError: it holds no run.
        CheckpointError: the run has no checkpoint yet, or it is damaged. Where the last is damaged
            and the one before it is not, that is used, with a warning.
    """
    folder = Path(folder)
    config = parse_config(read_config(folder, key="run"))
    path, checkpoint = open_checkpoint(folder, which)
    model = AIR(**checkpoint.model_arguments)
    load_weights(model, checkpoint.model, path)
    schedule = build_presence_schedule(config.prior, config.model.num_steps)
    return TrainedRun(
        folder=folder,
        config=config,
        model=model.eval(),
        iteration=checkpoint.iteration,
        z_pres_prior_p=schedule(checkpoint.iteration),
    )
