"""Trackio: a dashboard on this machine. This is the only module that imports it."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import secrets
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from air.errors import ConfigError, needs_extra
from air.runs.files import write_whole
from air.tracking.config import TrackioConfig
from air.tracking.overlays import with_windows
from air.tracking.values import ConfusionMatrix, Histogram, Value

log = logging.getLogger(__name__)

_NAME_FILE = "trackio_run_name"
_FOLDER = "TRACKIO_DIR"  # the environment variable by which trackio finds its files


class TrackioTracker:
    """Puts a run into Trackio's database; nothing leaves the machine.

    Args:
        config: project, name, group, and where the database is.
        run_dir: the run's folder, which holds the run's name in Trackio, so that a resumed run
            keeps it. It ends in random characters, since Trackio tells runs apart by their names
            alone.
        resolved_config: every value of the run.

    Raises:
        ConfigError: as `check_trackio`.
    """

    def __init__(
        self, config: TrackioConfig, run_dir: Path, resolved_config: dict[str, Any]
    ) -> None:
        self._trackio = check_trackio(config)
        with _quiet():
            self._run = self._trackio.init(
                project=config.project,
                name=_run_name(config, run_dir),
                group=config.group,
                config=resolved_config,
                resume="allow",
                embed=False,
                auto_log_cpu=False,
                auto_log_gpu=False,
            )
        folder = shlex.quote(str(self._trackio.utils.TRACKIO_DIR))
        project = shlex.quote(config.project)
        log.info(
            "Trackio; show the run with: %s=%s trackio show --project %s", _FOLDER, folder, project
        )

    def log(self, iteration: int, values: Mapping[str, Value]) -> None:
        """Record numbers, matrices as tables, and each picture under a name of its own."""
        converted: dict[str, Any] = {}
        for name, value in values.items():
            if isinstance(value, ConfusionMatrix):
                converted[name] = self._table(value)
            elif isinstance(value, Histogram):
                converted[name] = self._trackio.Histogram(np_histogram=(value.counts, value.edges))
            elif isinstance(value, Sequence):
                for i, picture in enumerate(value):
                    image = self._trackio.Image(with_windows(picture), caption=picture.caption)
                    converted[f"{name}/{i}"] = image
            else:
                converted[name] = value
        self._run.log(converted, step=iteration)

    def summarize(self, values: Mapping[str, float | int | str]) -> None:
        """Do nothing: Trackio takes the last of each metric."""

    def keep_model(self, path: Path, values: Mapping[str, float | int | str]) -> None:
        """Log the checkpoint as an artifact of type model: the best, and the latest of its name."""
        artifact = self._trackio.Artifact(
            f"model-{self._run.name}", type="model", metadata=dict(values)
        )
        artifact.add_file(path)
        with _quiet():
            self._run.log_artifact(artifact, aliases=["best"])

    def alert(self, title: str, text: str) -> None:
        """Show a warning on the dashboard, at the iteration that was logged last."""
        with _quiet():
            self._run.alert(title, text, level=self._trackio.AlertLevel.WARN)

    def finish(self, exit_code: int) -> None:
        """Write what is left."""
        with _quiet():
            self._trackio.finish()

    def _table(self, matrix: ConfusionMatrix) -> Any:
        # Not plain numbers: the dashboard puts those before all other columns.
        columns = ["true", *(f"inferred {n}" for n in range(matrix.counts.shape[1]))]
        rows = [[str(true), *row] for true, row in enumerate(matrix.counts.tolist())]
        return self._trackio.Table(columns=columns, data=rows)


def check_trackio(config: TrackioConfig) -> Any:
    """Return the package, ready for the run's folder, without starting a run.

    Raises:
        MissingExtraError: it is not installed.
        ConfigError: a project name that it does not accept, or a second folder in one process.
    """
    wanted = Path(os.environ.get(_FOLDER) or config.folder).expanduser()
    before = os.environ.get(_FOLDER)
    os.environ[_FOLDER] = str(wanted)  # which trackio reads only while it is imported
    try:
        with needs_extra("trackio"):
            import trackio
    finally:
        if before is None:
            del os.environ[_FOLDER]
    used = Path(trackio.utils.TRACKIO_DIR)
    if used.resolve() != wanted.resolve():
        raise ConfigError(
            f"tracking.folder: must be {used}, where earlier runs of this process are, got {wanted}"
        )
    try:
        trackio.SQLiteStorage.validate_project_name(config.project)
    except ValueError as error:
        raise ConfigError(
            f"tracking.project: Trackio does not accept it: {' '.join(str(error).split())}"
        ) from None
    return trackio


def _run_name(config: TrackioConfig, run_dir: Path) -> str:
    path = run_dir / _NAME_FILE
    if not path.exists():
        write_whole(path, f"{config.run_name}-{secrets.token_hex(2)}\n".encode())
    return path.read_text(encoding="utf-8").strip()


def _quiet() -> contextlib.redirect_stdout[io.StringIO]:
    """Keep Trackio's own announcements off the console: what a user needs is one line of ours."""
    return contextlib.redirect_stdout(io.StringIO())
