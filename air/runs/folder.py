"""The folder of a run: one run's alone, claimed before anything is written to it.

config.yaml       every value of the run
overrides.yaml    what the command line changed
train.log         what the console said
metrics.jsonl     every metric, a line for each time it was logged
checkpoints/      the last ones, by iteration, and that of the best evaluation
result.json       how the run ended, once it has
pictures/         what the model sees
wandb/            W&B's own files, if it tracks the run
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from air.config.quoting import to_paste
from air.errors import RunFolderError
from air.runs.files import PARTIAL, write_whole
from air.runs.lock import held
from air.runs.shipped import SHIPPED_MODELS

log = logging.getLogger(__name__)

CONFIG_FILE = "config.yaml"
OVERRIDES_FILE = "overrides.yaml"
METRICS_FILE = "metrics.jsonl"
CHECKPOINTS_FOLDER = "checkpoints"
PICTURES_FOLDER = "pictures"
SWEEP_FILE = "multirun.yaml"  # of a sweep's folder, in Hydra's words
_LOG_FILE = "train.log"


@contextlib.contextmanager
def claimed(run_dir: Path, resume: bool) -> Iterator[None]:
    """Hold a run folder against every other process, and keep the run's log in it.

    Args:
        run_dir: the folder; made if absent.
        resume: whether it must hold a run already, or must not.

    Raises:
        RunFolderError: another process is using it, it holds a run that would be overwritten, or
            there is none to resume.
    """
    check_run_folder(run_dir, resume)
    run_dir.mkdir(parents=True, exist_ok=True)
    with held(run_dir):
        check_run_folder(run_dir, resume)  # it may have become a run while this one waited
        _remove_leftovers(run_dir)
        handler = _LogFile(run_dir / _LOG_FILE)
        handler.setFormatter(
            logging.Formatter("[%(asctime)s][%(name)s][%(levelname)s] %(message)s")
        )
        logging.getLogger().addHandler(handler)
        try:
            yield
        finally:
            logging.getLogger().removeHandler(handler)
            with contextlib.suppress(OSError):  # what it could not write
                handler.close()


def holds_run(folder: Path) -> bool:
    """Return whether a run has been started in a folder."""
    return (folder / CONFIG_FILE).exists()


def check_run_folder(run_dir: Path, resume: bool) -> None:
    """Raise `RunFolderError` if the folder holds a run and should not, or holds none and should.

    Args:
        run_dir: the folder.
        resume: whether it must hold a run.
    """
    if run_dir.exists() and not run_dir.is_dir():
        name = f"resume: {run_dir}" if resume else str(run_dir)
        raise RunFolderError(f"{name}: must be a folder, got a file")
    if resume and not holds_run(run_dir):
        shipped = run_dir.name in SHIPPED_MODELS
        hint = "; the shipped model of that name cannot be trained further" if shipped else ""
        raise RunFolderError(f"resume: {run_dir} holds no run (it has no {CONFIG_FILE}){hint}")
    if holds_run(run_dir) and not resume:
        raise RunFolderError(
            f"{run_dir}: already holds a run, which is never overwritten; "
            f"continue it with {to_paste('resume', run_dir)}, or choose another folder"
        )


def discard_if_empty(run_dir: Path) -> None:
    """Remove a folder that was made for a run which never started."""
    with contextlib.suppress(OSError):  # it holds something, or is not there
        run_dir.rmdir()


def write_config(run_dir: Path, values: dict[str, Any], overrides: list[str]) -> None:
    """Write what the run is, and what this and earlier command lines changed.

    config.yaml comes last: it is what makes the folder a run.

    Raises:
        WriteError: one of the files cannot be written.
    """
    # Without config.yaml the folder was no run yet, and what is recorded never began.
    before = (read_overrides(run_dir) or []) if holds_run(run_dir) else []
    write_overrides(run_dir, [*before, *overrides])
    _write_yaml(run_dir / CONFIG_FILE, values)


def write_overrides(run_dir: Path, overrides: list[str]) -> None:
    """Write what command lines changed, whole or not at all.

    Raises:
        WriteError: it cannot be written.
    """
    _write_yaml(run_dir / OVERRIDES_FILE, overrides)


def read_overrides(run_dir: Path) -> list[str] | None:
    """Return what command lines changed, or None where that is not recorded.

    Raises:
        RunFolderError: overrides.yaml cannot be read.
    """
    path = run_dir / OVERRIDES_FILE
    try:
        overrides = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RunFolderError(f"{path}: cannot be read: {error}") from None
    if not isinstance(overrides, list):
        raise RunFolderError(f"{path}: must hold a list, got {overrides!r}")
    return [str(override) for override in overrides]


def read_config(run_dir: Path) -> dict[str, Any]:
    """Return the values of the run that a folder holds.

    Raises:
        RunFolderError: the folder holds no run, or its config.yaml cannot be read.
    """
    check_run_folder(run_dir, resume=True)
    try:
        values = yaml.safe_load((run_dir / CONFIG_FILE).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RunFolderError(f"{run_dir / CONFIG_FILE}: cannot be read: {error}") from None
    if not isinstance(values, dict):
        raise RunFolderError(f"{run_dir / CONFIG_FILE}: must hold a mapping, got {values!r}")
    return values


def _write_yaml(path: Path, content: Any) -> None:
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    write_whole(path, text.encode())


def _remove_leftovers(run_dir: Path) -> None:
    """Remove half-written checkpoints of a killed process; the caller holds the folder.

    Only a run writes there. What is left elsewhere goes when its file is written again.
    """
    for path in (run_dir / CHECKPOINTS_FOLDER).glob(f"*{PARTIAL}"):
        path.unlink(missing_ok=True)


class _LogFile(logging.FileHandler):
    """The run's log; a copy of what the console says, which a run can do without."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Give up, and say so once, instead of a traceback for every line."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            return super().handleError(record)
        logging.getLogger().removeHandler(self)
        log.warning(
            "%s: cannot be written, and left out from now on: %s", self.baseFilename, error.strerror
        )
        return None
