"""Checkpoints: everything a run needs to go on exactly, or a user to use the model."""

from __future__ import annotations

import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import air
from air.config import WhichCheckpoint
from air.errors import CheckpointError
from air.model import AIR

FORMAT = 1
FOLDER = "checkpoints"
BEST_CHECKPOINT = "best.pt"


_KEEP = 2  # numbered ones: the last good one stays while the next is judged


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run after `iteration` optimiser steps.

    Attributes:
        config: the run's values, as in `config.yaml`.
        model_arguments: keyword arguments that build the model again.
        iteration: optimiser steps taken.
        model: the model's state dict.
        optimizer: Adam's state dict.
        random_states: of the random generators, by device; "cpu-1" is that of a second process.
        moving_averages: Pyro's decaying-average baselines, with an entry for each image of a batch.
        version: of this package.
        format: of this dataclass.
    """

    config: dict[str, Any]
    model_arguments: dict[str, Any]
    iteration: int
    model: dict[str, Tensor]
    optimizer: dict[str, Any]
    random_states: dict[str, Tensor]
    moving_averages: dict[str, Tensor]
    version: str = air.__version__
    format: int = FORMAT


def save_checkpoint(run_dir: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint so that it is there whole or not at all, and drop the oldest.

    Args:
        run_dir: the run's folder.
        checkpoint: what to keep.

    Returns:
        The file.
    """
    folder = run_dir / FOLDER
    folder.mkdir(exist_ok=True)
    path = checkpoint_path(run_dir, checkpoint.iteration)
    descriptor, temporary = tempfile.mkstemp(dir=folder, suffix=".partial")
    try:
        with os.fdopen(descriptor, "wb") as file:
            torch.save(asdict(checkpoint), file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    for old in sorted(folder.glob("[0-9]*.pt"))[:-_KEEP]:
        old.unlink()
    return path


def checkpoint_path(run_dir: Path, iteration: int) -> Path:
    """Return where the checkpoint of an iteration is, as long as it is kept."""
    return run_dir / FOLDER / f"{iteration:08d}.pt"


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint file.

    Args:
        path: a file that `save_checkpoint` wrote, on any device; tensors come to the CPU.

    Raises:
        CheckpointError: the file is missing, damaged, or not a checkpoint of this format.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such checkpoint") from None
    except Exception as error:  # torch raises many kinds for damaged files
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path}: damaged, or not a checkpoint: {reason}") from None
    names = Checkpoint.__dataclass_fields__.keys()
    if not isinstance(content, dict) or not content.keys() >= {"format", "version"}:
        raise CheckpointError(f"{path}: is a torch file, but not a checkpoint of AIR")
    if content["format"] != FORMAT:
        raise CheckpointError(
            f"{path}: checkpoint format must be {FORMAT}, got {content['format']!r}, "
            f"written by version {content.get('version')}"
        )
    if content.keys() != names:
        raise CheckpointError(f"{path}: must hold {sorted(names)}, got {sorted(content)}")
    return Checkpoint(**content)


def latest_checkpoint(run_dir: Path) -> Path | None:
    """Return a run's last checkpoint file, or None if it has none yet."""
    files = sorted((run_dir / FOLDER).glob("[0-9]*.pt"))
    return files[-1] if files else None


def find_checkpoint(run_dir: Path, which: WhichCheckpoint = "latest") -> Path:
    """Return a run's checkpoint file.

    Args:
        run_dir: the run's folder.
        which: the last one, or the one that did best on held-out images.

    Raises:
        CheckpointError: there is none yet, or `which` is neither.
    """
    if which == "latest":
        path = latest_checkpoint(run_dir)
    elif which == "best":
        best = run_dir / FOLDER / BEST_CHECKPOINT
        path = best if best.exists() else None
    else:
        raise CheckpointError(f"which: must be latest or best, got {which!r}")
    if path is None:
        raise CheckpointError(f"{run_dir}: has no {'best ' * (which == 'best')}checkpoint yet")
    return path


def load_weights(model: AIR, checkpoint: Checkpoint, source: str | Path) -> None:
    """Put a checkpoint's weights into a model.

    Raises:
        CheckpointError: it belongs to another architecture; the first difference is named.
    """
    ours = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    theirs = {name: tuple(value.shape) for name, value in checkpoint.model.items()}
    for name in sorted(ours.keys() | theirs.keys()):
        if ours.get(name) != theirs.get(name):
            raise CheckpointError(
                f"{source}: is of another architecture: {name} must have the shape "
                f"{ours.get(name, 'none')}, got {theirs.get(name, 'none')}"
            )
    model.load_state_dict(checkpoint.model)


def load(
    run_dir_or_checkpoint: str | Path,
    device: str | torch.device = "cpu",
    which: WhichCheckpoint = "latest",
) -> AIR:
    """Give a trained model back, ready for `infer`.

    Args:
        run_dir_or_checkpoint: a run's folder, or a checkpoint file.
        device: where to put it.
        which: of a folder: the last checkpoint, or the one that did best on held-out images.

    Returns:
        The model, in evaluation mode.

    Raises:
        CheckpointError: there is no such checkpoint, or it is damaged.
    """
    path = Path(run_dir_or_checkpoint)
    if path.is_dir():
        path = find_checkpoint(path, which)
    checkpoint = read_checkpoint(path)
    model = AIR(**checkpoint.model_arguments)
    load_weights(model, checkpoint, path)
    return model.to(device).eval()
