"""Checkpoints: everything a run needs to be resumed exactly, or a user to use the model."""

from __future__ import annotations

import io
import logging
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from air.config.parsing import parse_config
from air.errors import CheckpointError, DamagedCheckpointError
from air.fields import WhichCheckpoint
from air.model.air import AIR
from air.runs.files import naming, write_whole
from air.runs.folder import CHECKPOINTS_FOLDER
from air.runs.shipped import SHIPPED_MODELS, shipped_checkpoint

log = logging.getLogger(__name__)

CHECKPOINT_FORMAT = 2
_KEEP = 2  # numbered ones: the one before is used if the last turns out damaged


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run after `iteration` optimiser steps.

    Attributes:
        config: the run's values, as in `config.yaml`.
        x_size: width and height of an image, in pixels.
        num_channels: of an image.
        iteration: optimiser steps taken.
        model: the model's state dict.
        optimizer: Adam's state dict.
        random_states: of the random generators, by device; "cpu-1" is that of a second process.
        moving_averages: Pyro's decaying-average baselines, with an entry for each image of a batch.
        best: the best evaluation so far; None before the first.
        sums: of the objective's metrics since they were last logged.
        num_summed: over how many iterations.
        collapse: what the evaluations so far say about collapsed counts.
        format: of this dataclass.
    """

    config: dict[str, Any]
    x_size: int
    num_channels: int
    iteration: int
    model: dict[str, Tensor]
    optimizer: dict[str, Any]
    random_states: dict[str, Tensor]
    moving_averages: dict[str, Tensor]
    best: dict[str, Any] | None
    sums: dict[str, Tensor]
    num_summed: int
    collapse: dict[str, Any]
    format: int = CHECKPOINT_FORMAT


def save_checkpoint(run_dir: Path, checkpoint: Checkpoint, keep_at: Sequence[int] = ()) -> None:
    """Write a numbered checkpoint, whole or not at all, and drop those before the last two.

    A run that went back to an earlier checkpoint drops the later ones here too, and not before it
    has got further by itself.

    Args:
        run_dir: the run's folder.
        checkpoint: what to keep.
        keep_at: iterations whose checkpoints stay.

    Raises:
        WriteError: it cannot be written; the earlier ones are as they were.
    """
    path = numbered_checkpoint(run_dir, checkpoint.iteration)
    write_checkpoint(path, checkpoint)
    files = numbered_checkpoints(run_dir)
    so_far = [file for file in files if file <= path]
    kept = {*so_far[-_KEEP:], *(file for file in so_far if int(file.stem) in keep_at)}
    for old in set(files) - kept:
        old.unlink()


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint file, whole or not at all.

    Raises:
        WriteError: it cannot be written; what was there still is.
    """
    with naming(path):
        path.parent.mkdir(exist_ok=True)
    content = io.BytesIO()  # torch's own errors about a full disk say neither file nor reason
    torch.save(asdict(checkpoint), content)
    write_whole(path, content.getbuffer())


def save_weights(run_dir: str | Path, path: str | Path) -> None:
    """Write a run's last model as one small file for `load`, from which no run can be resumed.

    How the run was tracked is left out too, as it may name an account.

    Args:
        run_dir: the run's folder.
        path: the checkpoint file to write.

    Raises:
        CheckpointError: as `open_checkpoint`.
        WriteError: it cannot be written; what was there still is.
    """
    _, checkpoint = open_checkpoint(Path(run_dir))
    weights = replace(
        checkpoint,
        config={**checkpoint.config, "tracking": {"kind": "none"}},
        optimizer={},
        random_states={},
        moving_averages={},
        best=None,
        sums={},
        num_summed=0,
        collapse={},
    )
    write_checkpoint(Path(path), weights)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint file.

    Args:
        path: a file that `write_checkpoint` wrote, on any device; tensors come to the CPU.

    Raises:
        DamagedCheckpointError: the file is torn, or not what was written.
        CheckpointError: it is missing, cannot be read, or not a checkpoint of this format.
    """
    content = read_torch_file(path)
    names = {each.name for each in fields(Checkpoint)}
    if holds_pyro_weights(content):
        raise CheckpointError(
            f"{path}: is no checkpoint of ours, but weights of Pyro's examples/air; "
            "air.load_pyro(file, num_steps=3, …) gives their model"
        )
    if not isinstance(content, dict) or "format" not in content:
        raise CheckpointError(f"{path}: is a torch file, but not a checkpoint of AIR")
    if content["format"] != CHECKPOINT_FORMAT:
        raise CheckpointError(
            f"{path}: checkpoint format must be {CHECKPOINT_FORMAT}, got {content['format']!r}"
        )
    if content.keys() != names:
        raise CheckpointError(f"{path}: must hold {sorted(names)}, got {sorted(content)}")
    return Checkpoint(**content)


def read_torch_file(path: Path) -> Any:
    """Read what `torch.save` wrote, without running any code in it; tensors come to the CPU.

    Raises:
        DamagedCheckpointError: the file is torn, or not what was written.
        CheckpointError: it is missing or cannot be read.
    """
    try:
        file = io.BytesIO(path.read_bytes())
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such checkpoint") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from None
    try:
        with zipfile.ZipFile(file) as archive:
            changed = archive.testzip()  # torch does not compare the checksums that it writes
        if changed is not None:
            raise ValueError(f"the checksum of {changed} is wrong")
        file.seek(0)
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for damaged files
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DamagedCheckpointError(f"{path}: damaged, or not a checkpoint: {reason}") from None


def holds_pyro_weights(content: Any) -> bool:
    """Return whether a torch file is a state dict of the `AIR` of Pyro's `examples/air`."""
    return isinstance(content, dict) and {"z_where_loc_prior", "rnn.weight_ih"} <= content.keys()


def numbered_checkpoint(run_dir: Path, iteration: int) -> Path:
    """Return where the checkpoint of an iteration is, if it was saved and kept."""
    return run_dir / CHECKPOINTS_FOLDER / f"{iteration:08d}.pt"


def numbered_checkpoints(run_dir: Path) -> list[Path]:
    """Return a run's checkpoint files by iteration, without the best one."""
    return sorted((run_dir / CHECKPOINTS_FOLDER).glob("[0-9]*.pt"))


def best_checkpoint(run_dir: Path) -> Path:
    """Return where the checkpoint of a run's best evaluation is, once there is one."""
    return run_dir / CHECKPOINTS_FOLDER / "best.pt"


def when_written(run_dir: Path) -> dict[Path, int]:
    """Return a run's checkpoint files and when each was written; equal while no run writes."""
    files = [*numbered_checkpoints(run_dir), best_checkpoint(run_dir)]
    return {file: file.stat().st_mtime_ns for file in files if file.exists()}


def read_latest(run_dir: Path) -> tuple[Path, Checkpoint] | None:
    """Read the newest of a run's checkpoints, numbered or the best, that is not damaged.

    Damaged ones that were passed over are warned of; best.pt only by who asks for the best.

    Returns:
        The file that was read and what it holds, or None if the run has no checkpoint yet.

    Raises:
        DamagedCheckpointError: all are damaged; the last one is named.
        CheckpointError: as `read_checkpoint`.
    """
    newest: tuple[Path, Checkpoint] | None = None
    damaged: list[DamagedCheckpointError] = []
    best = best_checkpoint(run_dir)
    unusable: list[CheckpointError] = []  # best.pt, whose iteration is not known then
    if best.exists():
        try:
            newest = best, read_checkpoint(best)
        except CheckpointError as error:
            unusable.append(error)
    for path in reversed(numbered_checkpoints(run_dir)):
        if newest and int(path.stem) < newest[1].iteration:
            break
        try:
            newest = path, read_checkpoint(path)
            break
        except DamagedCheckpointError as error:
            damaged.append(error)
    if newest:
        for each in damaged:
            log.warning("%s; using %s instead", each, newest[0])
    elif damaged or unusable:
        raise [*damaged, *unusable][0]
    return newest


def open_checkpoint(run_dir: Path, which: WhichCheckpoint = "latest") -> tuple[Path, Checkpoint]:
    """Return a run's checkpoint and its file.

    Args:
        run_dir: the run's folder.
        which: the last one, the one that did best on held-out images, or that of an iteration.

    Raises:
        CheckpointError: there is none yet, none of that iteration, or `which` is nothing of the
            kind; also as `read_latest`.
    """
    if which == "latest":
        found = read_latest(run_dir)
    elif which == "best":
        path = best_checkpoint(run_dir)
        found = (path, read_checkpoint(path)) if path.exists() else None
    elif isinstance(which, int) and not isinstance(which, bool):
        path = numbered_checkpoint(run_dir, which)
        if not path.exists():
            kept = ", ".join(str(int(file.stem)) for file in numbered_checkpoints(run_dir))
            raise CheckpointError(
                f"which: must be latest, best or an iteration whose checkpoint {run_dir} has, "
                f"{kept or 'of which there is none'}, got {which}"
            )
        found = path, read_checkpoint(path)
    else:
        raise CheckpointError(f"which: must be latest, best or an iteration, got {which!r}")
    if found is None:
        raise CheckpointError(f"{run_dir}: has no {'best ' * (which == 'best')}checkpoint yet")
    return found


def load_weights(model: AIR, weights: Mapping[str, Tensor], source: str | Path) -> None:
    """Put weights into a model, which takes their type.

    Args:
        model: where they go.
        weights: a state dict.
        source: the file that they are from.

    Raises:
        CheckpointError: they belong to another architecture; the first difference is named.
    """
    ours = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    theirs = {name: tuple(value.shape) for name, value in weights.items()}
    for name in sorted(ours.keys() | theirs.keys()):
        if ours.get(name) != theirs.get(name):
            raise CheckpointError(
                f"{source}: is of another architecture: {name} must have the shape "
                f"{ours.get(name, 'none')}, got {theirs.get(name, 'none')}"
            )
    dtype = next(value.dtype for value in weights.values())
    model.to(dtype).load_state_dict(dict(weights))


def rebuild(checkpoint: Checkpoint, source: str | Path) -> AIR:
    """Return the model of a checkpoint, in evaluation mode, on the CPU.

    Args:
        checkpoint: as read.
        source: the file that it is from.

    Raises:
        CheckpointError: its configuration and its weights do not fit together.
        ConfigError: its configuration is not one.
    """
    air = parse_config(checkpoint.config).build_model(checkpoint.x_size, checkpoint.num_channels)
    load_weights(air, checkpoint.model, source)
    return air.eval()


def load(
    run_dir_or_checkpoint: str | Path,
    device: str | torch.device = "cpu",
    which: WhichCheckpoint = "latest",
) -> AIR:
    """Give a trained model back, ready for `infer`.

    Args:
        run_dir_or_checkpoint: a run's folder, a checkpoint file or, where there is neither, the
            name of a shipped model: multi_mnist.
        device: where to put it.
        which: of a folder: the last checkpoint, the one that did best on held-out images, or that
            of an iteration.

    Returns:
        The model, in evaluation mode.

    Raises:
        CheckpointError: there is no such checkpoint, or it is damaged. Of a folder's last two,
            the one before is used if the last is damaged, with a warning.
    """
    path = shipped_checkpoint(run_dir_or_checkpoint) or Path(run_dir_or_checkpoint)
    if not path.exists():
        raise CheckpointError(
            f"{path}: no such checkpoint; must be a run's folder, a checkpoint file or a shipped "
            f"model ({', '.join(SHIPPED_MODELS)})"
        )
    if path.is_dir():
        path, checkpoint = open_checkpoint(path, which)
    else:
        checkpoint = read_checkpoint(path)
    return rebuild(checkpoint, path).to(device)
