"""Weights & Biases: a run and what it logs. wandb is imported only when a run starts."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from air.errors import ConfigError
from air.runs.files import write_whole
from air.tracking.config import WandbConfig
from air.tracking.tracker import NullTracker, Tracker
from air.tracking.values import ConfusionMatrix, Histogram, Picture, Value
from air.tracking.wandb_session import (
    Mode,
    check_root,
    find_mode,
    message_line,
    root_folder,
    wandb_environment,
)

log = logging.getLogger(__name__)

CONFUSION_CHART = "wandb/confusion_matrix/v1"  # W&B's preset
CONFUSION_FIELDS = {name: name for name in ("Actual", "Predicted", "nPredictions")}
_ID_FILE = "wandb_run_id"
_TIMEOUTS = {  # in seconds, where `WANDB_INIT_TIMEOUT` and `WANDB_FINISH_TIMEOUT` say no other
    "init_timeout": 30.0,  # until a server that does not answer counts as unreachable
    "finish_timeout": 300.0,  # to send what is left at the end of a run
}


class WandbTracker:
    """Sends a run to W&B, or keeps it in the run folder to be sent later.

    Args:
        config: project, name, group and so on.
        mode: online or offline. Online without an answer from the server becomes offline.
        run_dir: the run's folder; W&B's files go below it, or below `WANDB_DIR`. The run's id is
            kept there, so that a resumed run keeps its id.
        resolved_config: every value of the run.
    """

    def __init__(
        self, config: WandbConfig, mode: Mode, run_dir: Path, resolved_config: dict[str, Any]
    ) -> None:
        import wandb

        self._wandb = wandb
        self._folder = Path(wandb.Settings(root_dir=str(root_folder(run_dir))).wandb_dir)
        settings: dict[str, Any] = {
            **_described(config),
            "root_dir": str(root_folder(run_dir)),
            "run_id": _run_id(run_dir),
            "resume": "allow",  # offline too: it tells `wandb sync` to append, not to overwrite
            "reinit": "finish_previous",  # the jobs of a sweep follow one another in one process
            "silent": True,  # what a user needs to know is one line, below
            "console": "off",
            "disable_code": True,
            **{
                name: seconds
                for name, seconds in _TIMEOUTS.items()
                if not os.environ.get(f"WANDB_{name.upper()}")
            },
            "finish_timeout_raises": True,
        }
        try:
            self._run = self._start(mode, settings, resolved_config)
        except wandb.Error as error:
            if mode != "online":
                raise
            log.warning("W&B cannot be reached; this run is kept offline: %s", message_line(error))
            self._end_session()  # else W&B's service process believes that the id is in use
            self._run = self._start("offline", settings, resolved_config)
        self._sync_command = f"wandb sync {shlex.quote(str(Path(self._run.dir).parent))}"
        if self._run.offline:
            log.info("W&B offline; send the run with: %s", self._sync_command)
        else:
            log.info("W&B online: %s", self._run.url)
        # No summary="max" for best/…: W&B would rank by "best/count_accuracy.max" then. The last
        # value, which W&B takes by itself, is the best so far under its own name.
        self._run.define_metric("iteration")
        self._run.define_metric("*", step_metric="iteration")

    def log(self, iteration: int, values: Mapping[str, Value]) -> None:
        """Record numbers as scalars, pictures with their windows, a confusion matrix as a table.

        The matrix also becomes a chart, under its name with "_chart" behind it.
        """
        charts = {
            f"{name}_chart": self._chart(value)
            for name, value in values.items()
            if isinstance(value, ConfusionMatrix)
        }
        converted = {name: self._convert(value) for name, value in values.items()}
        with wandb_environment(self._folder):  # tables are copied
            self._run.log({"iteration": iteration} | converted | charts)

    def summarize(self, values: Mapping[str, float | int | str]) -> None:
        """Set the run's summary, by which W&B ranks runs."""
        self._run.summary.update(dict(values))

    def keep_model(self, path: Path, values: Mapping[str, float | int | str]) -> None:
        """Log the checkpoint as an artifact of type model: its best, and the latest of its name.

        It is linked into W&B's folder of this run: an offline run is sent later, when the file may
        be another, and W&B's own copy would be in the user's home.
        """
        folder = Path(self._run.dir).parent / "artifacts"
        folder.mkdir(exist_ok=True)
        kept = folder / path.name
        kept.unlink(missing_ok=True)
        try:
            os.link(path, kept)
        except OSError:  # a file system without hard links
            shutil.copyfile(path, kept)
        artifact = self._wandb.Artifact(
            f"model-{self._run.id}", type="model", metadata=dict(values)
        )
        artifact.add_file(str(kept), policy="immutable", skip_cache=True)
        with wandb_environment(self._folder):
            self._run.log_artifact(artifact, aliases=["latest", "best"])

    def alert(self, title: str, text: str) -> None:
        """Have W&B send a warning as the user has set it up; an offline run's, once it is sent."""
        self._run.alert(title, text, level="WARN")

    def finish(self, exit_code: int) -> None:
        """Close the run and, online, wait a while for all to be sent."""
        try:
            with wandb_environment(self._folder):
                self._run.finish(exit_code=exit_code)
            self._end_session()
        except TimeoutError:
            log.warning(
                "W&B: not everything was sent in %.0f s; send the rest with: %s --include-online",
                self._run.settings.finish_timeout,
                self._sync_command,
            )

    def _start(self, mode: Mode, settings: dict[str, Any], resolved_config: dict[str, Any]) -> Any:
        with wandb_environment(self._folder):
            run = self._wandb.init(
                settings=self._wandb.Settings(mode=mode, **settings), config=resolved_config
            )
        for handler in logging.getLogger("wandb").handlers:  # of W&B's debug.log
            handler.handleError = _ignore  # type: ignore[method-assign]
        return run

    def _end_session(self) -> None:
        """End W&B's service process, so that the next run has one that logs to its own folder."""
        with contextlib.suppress(SystemExit):  # where that failed, W&B would end this process too
            self._wandb.teardown()

    def _convert(self, value: Value) -> Any:
        if isinstance(value, ConfusionMatrix):
            columns: list[str | int] = ["true \\ inferred", *map(str, range(value.counts.shape[1]))]
            rows = [[str(true), *row] for true, row in enumerate(value.counts.tolist())]
            return self._wandb.Table(columns=columns, data=rows)
        if isinstance(value, Histogram):
            return self._wandb.Histogram(np_histogram=(value.counts, value.edges))
        if isinstance(value, Sequence):
            return [self._image(picture) for picture in value]
        return value

    def _chart(self, matrix: ConfusionMatrix) -> Any:
        """Return the matrix as W&B's own chart of one, a cell to a row."""
        cells = [
            [str(true), str(inferred), count]
            for true, row in enumerate(matrix.counts.tolist())
            for inferred, count in enumerate(row)
        ]
        return self._wandb.plot_table(
            vega_spec_name=CONFUSION_CHART,
            data_table=self._wandb.Table(columns=[*CONFUSION_FIELDS], data=cells),
            fields=CONFUSION_FIELDS,
            string_fields={"title": "true against inferred number of objects"},
        )

    def _image(self, picture: Picture) -> Any:
        # All steps, so that each can be switched off in every picture; the first is step 1, as in
        # all other pictures. Windows and masks share the classes: W&B knows one set of an image.
        labels = {step + 1: f"step {step + 1}" for step in range(picture.num_steps)}
        windows = {
            "box_data": [
                {
                    "position": {"minX": b.x0, "minY": b.y0, "maxX": b.x1, "maxY": b.y1},
                    "domain": "pixel",
                    "class_id": b.step + 1,  # classes have colours and switches in the dashboard
                }
                for b in picture.boxes
            ],
            "class_labels": labels,
        }
        boxes = {"windows": windows} if picture.num_steps else None
        masks = None
        if picture.segmentation is not None:
            seen = {"mask_data": picture.segmentation, "class_labels": labels}
            masks = {"segmentation": seen}
        return self._wandb.Image(picture.image, caption=picture.caption, boxes=boxes, masks=masks)


def open_wandb(config: WandbConfig, run_dir: Path, resolved_config: dict[str, Any]) -> Tracker:
    """Start a W&B run in the mode that configuration and environment come to.

    Returns:
        The run's tracker; one that records nothing if W&B is disabled.

    Raises:
        ConfigError: as `check_wandb`.
    """
    mode = check_wandb(config)
    if mode == "disabled":
        return NullTracker()
    return WandbTracker(config, mode, run_dir, resolved_config)


def check_wandb(config: WandbConfig) -> Mode:
    """Return the mode that a run would have, without starting one or writing anything.

    Raises:
        ConfigError: online without an API key, a name or a tag that W&B does not accept, or a
            `WANDB_DIR` that cannot be a folder of its files.
    """
    mode = find_mode(config.mode)
    if mode != "disabled":
        import wandb

        try:
            wandb.Settings(**_described(config))
        except (wandb.Error, ValueError) as error:
            raise ConfigError(f"tracking: W&B does not accept it: {message_line(error)}") from None
        check_root()
    return mode


def _described(config: WandbConfig) -> dict[str, Any]:
    described = {
        "project": config.project,
        "entity": config.entity,
        "run_name": config.run_name,
        "run_group": config.group,
        "run_job_type": config.job_type,
        "run_tags": tuple(config.tags),
        "run_notes": config.notes,
    }
    # What is not given stays open to W&B's settings files, such as the entity.
    return {name: value for name, value in described.items() if value}


def _run_id(run_dir: Path) -> str:
    path = run_dir / _ID_FILE
    if not path.exists():
        given = os.environ.get("WANDB_RUN_ID") if os.environ.get("WANDB_SWEEP_ID") else None
        write_whole(path, ((given or secrets.token_hex(4)) + "\n").encode())
    return path.read_text(encoding="utf-8").strip()


def _ignore(record: logging.LogRecord) -> None:
    """Print nothing, on a full disk, for each line that W&B cannot write to its own log."""
