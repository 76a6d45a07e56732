"""The errors that a user can mend; the command line prints them as one line and exits with 1."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


class AIRError(Exception):
    """Something the user gave cannot be used; the message names it and says what is allowed."""


class ConfigError(AIRError):
    """A configuration value is unknown, of the wrong type or out of range."""


class DataError(AIRError):
    """A data file is missing, damaged or of the wrong shape, or cannot be downloaded."""


class CheckpointError(AIRError):
    """A checkpoint is missing, damaged or belongs to another model."""


class DamagedCheckpointError(CheckpointError):
    """A checkpoint file is torn or its content has changed; an earlier one may be whole."""


class WriteError(AIRError):
    """A file cannot be written, such as on a full disk; what was there before still is."""


class RunFolderError(AIRError):
    """A run folder is in use, already holds a run, or holds none to resume."""


class NonFiniteLossError(AIRError):
    """A term of the loss became infinite or not a number during training."""


class DashboardError(AIRError):
    """A dashboard cannot be saved."""


class NotKnownError(AIRError):
    """What an evaluator or a picture needs is not in the data; the others are still made."""


class ProcessLostError(AIRError):
    """Another process of the same run has ended, and this one cannot continue alone."""


class MissingExtraError(AIRError):
    """A command needs packages that are not installed."""


@contextlib.contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Say which extra to install if an import inside the block finds no package.

    Args:
        extra: its name in setup.cfg.

    Raises:
        MissingExtraError: a package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{error.name}: is not installed; this needs the extra {extra!r}: "
            f'pip install -e ".[{extra}]"'
        ) from error
