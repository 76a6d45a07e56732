"""A run that has been trained, or still is: its model and everything needed to use it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from air.config.parsing import parse_config
from air.config.schema import Config
from air.errors import CheckpointError, ConfigError, RunFolderError
from air.fields import WhichCheckpoint
from air.model.air import AIR
from air.model.presence import PresencePrior
from air.runs.checkpoint import open_checkpoint, read_checkpoint, rebuild
from air.runs.folder import CONFIG_FILE, holds_run, read_config
from air.runs.shipped import SHIPPED_MODELS, SHIPPED_OUTPUTS, shipped_checkpoint


@dataclass(frozen=True)
class TrainedRun:
    """A checkpoint of a run.

    Attributes:
        folder: where what is made of it goes: the run's own, which exists, or the one that stands
            for a shipped model's, which need not.
        config: what the run is.
        air: the model, in evaluation mode, on the CPU.
        iteration: optimiser steps taken.
        z_pres_prior_p: the presence prior of that iteration, step -> trial probability.
    """

    folder: Path
    config: Config
    air: AIR
    iteration: int
    z_pres_prior_p: PresencePrior

    def check_images(self, x_size: int, num_channels: int, key: str = "data") -> None:
        """Raise `ConfigError` if the model cannot look at images.

        Args:
            x_size: their width and height, in pixels.
            num_channels: that they have.
            key: of the configuration, which chooses them.
        """
        sizes = self.air.image_sizes
        if num_channels != self.air.num_channels:
            names = {1: "grey images", 3: "images in colour"}
            raise ConfigError(
                f"{key}: must have {names[self.air.num_channels]} as in training, "
                f"got {names[num_channels]}"
            )
        if x_size not in sizes:
            allowed = f"{sizes[0]} pixels as in training"
            if len(sizes) > 1:
                allowed = f"at least {sizes[0]} pixels"
            raise ConfigError(f"{key}: must have images of {allowed}, got {x_size}")


def open_run(name: str | Path, which: WhichCheckpoint = "latest") -> TrainedRun:
    """Read the run that the key `run` names; one that is still being trained will do.

    Args:
        name: the run's folder or, where there is none, the name of a shipped model.
        which: the last checkpoint, the one that did best on held-out images, or that of an
            iteration; a shipped model has one alone.

    Raises:
        RunFolderError: it is neither.
        CheckpointError: the run has no checkpoint yet, or it is damaged. Where the last is damaged
            and the one before it is not, that is used, with a warning.
    """
    shipped = shipped_checkpoint(name)
    if shipped:
        folder, path, checkpoint = SHIPPED_OUTPUTS / name, shipped, read_checkpoint(shipped)
        if which not in ("latest", "best", checkpoint.iteration):
            raise CheckpointError(
                f"which: must be latest, best or {checkpoint.iteration} of the shipped model "
                f"{name}, got {which}"
            )
        config = parse_config(checkpoint.config)
    else:
        folder = Path(name)
        if not holds_run(folder):
            got = f"the folder {name}, which has no {CONFIG_FILE}" if folder.is_dir() else name
            raise RunFolderError(
                f"run: must be a run's folder or a shipped model ({', '.join(SHIPPED_MODELS)}), "
                f"got {got}"
            )
        config = parse_config(read_config(folder))
        path, checkpoint = open_checkpoint(folder, which)
    air = rebuild(checkpoint, path)
    schedule = config.prior.build(air.num_steps)
    return TrainedRun(
        folder=folder,
        config=config,
        air=air,
        iteration=checkpoint.iteration,
        z_pres_prior_p=schedule(checkpoint.iteration),
    )
