"""Weights & Biases. This is the only module that imports wandb, and only when a run starts."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from air.config import WandbConfig
from air.errors import ConfigError
from air.tracking.values import ConfusionMatrix, Picture, Value

log = logging.getLogger(__name__)

_ID_FILE = "wandb_run_id"
_MODES = ("online", "offline", "disabled")


def resolve_mode(
    configured: str, environment: Mapping[str, str], key_is_configured: Callable[[], bool]
) -> str:
    """Say what `tracking.mode` comes to; nothing here ever asks at a prompt.

    Args:
        configured: auto, online, offline or disabled.
        environment: of the process; `WANDB_MODE` is heeded if the configuration says auto.
        key_is_configured: whether W&B would find an API key.

    Returns:
        online, offline or disabled.

    Raises:
        ConfigError: online is asked for, and there is no key.
    """
    source, mode = "tracking.mode", configured
    if mode == "auto":
        source, mode = "WANDB_MODE", environment.get("WANDB_MODE") or "auto"
    if mode == "auto":
        return "online" if key_is_configured() else "offline"
    if mode not in _MODES:
        raise ConfigError(f"{source}: must be one of {', '.join(_MODES)}, got {mode!r}")
    if mode == "online" and not key_is_configured():
        raise ConfigError(
            f"{source}: online needs an API key, and none is configured; run `wandb login`, "
            "set WANDB_API_KEY, or use tracking.mode=offline"
        )
    return mode


def key_is_configured() -> bool:
    """Say whether W&B would find an API key without asking: environment, settings or netrc."""
    import wandb
    from wandb.sdk.lib import wbauth  # wandb.login and wandb.Api would ask at a terminal

    settings = wandb.setup().settings
    return bool(
        settings.api_key
        or settings.identity_token_file
        or wbauth.read_netrc_auth(host=settings.base_url)
    )


class WandbTracker:
    """Sends a run to W&B, or keeps it in the run folder to be sent later.

    Args:
        config: project, name, group and so on.
        mode: online or offline.
        run_dir: the run's folder; W&B's files go below it, and so does the run's id, so that a
            resumed run goes on under the same id.
        resolved_config: every value of the run.
    """

    def __init__(
        self, config: WandbConfig, mode: str, run_dir: Path, resolved_config: dict[str, Any]
    ) -> None:
        import wandb

        self._wandb = wandb
        arguments: dict[str, Any] = {
            "project": config.project,
            "entity": config.entity,
            "name": config.run_name,
            "group": config.group,
            "job_type": config.job_type,
            "tags": config.tags,
            "notes": config.notes,
            "dir": str(run_dir),
            "config": resolved_config,
            "id": _run_id(run_dir),
            "resume": "allow" if mode == "online" else None,
            "reinit": "finish_previous",  # the jobs of a sweep follow one another in one process
        }
        try:
            self._run = self._start(mode, arguments)
        except wandb.Error as error:
            if mode != "online":
                raise
            log.warning("W&B cannot be reached (%s); this run is kept offline", error)
            self._run = self._start("offline", {**arguments, "resume": None})
        self._run.define_metric("iteration")
        self._run.define_metric("*", step_metric="iteration")

    def log(self, iteration: int, values: Mapping[str, Value]) -> None:
        """Record numbers as scalars, a confusion matrix as a table, pictures with their windows."""
        converted = {name: self._convert(value) for name, value in values.items()}
        self._run.log({"iteration": iteration, **converted})

    def summarize(self, values: Mapping[str, float | int | str]) -> None:
        """Set the run's summary, by which W&B ranks runs."""
        self._run.summary.update(dict(values))

    def finish(self, exit_code: int) -> None:
        """Close the run and, online, wait until all is sent."""
        self._run.finish(exit_code=exit_code)

    def _start(self, mode: str, arguments: dict[str, Any]) -> Any:
        settings = self._wandb.Settings(
            silent=True,  # what a user needs to know is one line, below
            console="off",
            disable_code=True,
            init_timeout=30,  # seconds, before an unreachable server counts as one
        )
        run = self._wandb.init(mode=mode, settings=settings, **arguments)
        where = run.url if mode == "online" else f"offline; send it with: wandb sync {_folder(run)}"
        log.info("W&B run %s: %s", run.id, where)
        return run

    def _convert(self, value: Value) -> Any:
        if isinstance(value, ConfusionMatrix):
            columns = ["true \\ inferred", *map(str, range(value.counts.shape[1]))]
            rows = [[str(true), *row] for true, row in enumerate(value.counts.tolist())]
            return self._wandb.Table(columns=columns, data=rows)
        if isinstance(value, Sequence):
            return [self._image(picture) for picture in value]
        return value

    def _image(self, picture: Picture) -> Any:
        windows = {
            "box_data": [
                {
                    "position": {"minX": b.x0, "minY": b.y0, "maxX": b.x1, "maxY": b.y1},
                    "domain": "pixel",
                    "class_id": b.step,
                }
                for b in picture.boxes
            ],
            "class_labels": {b.step: f"step {b.step}" for b in picture.boxes},
        }
        boxes = {"windows": windows} if picture.boxes else None
        return self._wandb.Image(picture.image, caption=picture.caption, boxes=boxes)


def open_wandb(
    config: WandbConfig, run_dir: Path, resolved_config: dict[str, Any]
) -> WandbTracker | None:
    """Start a W&B run in the mode that configuration and environment come to; None if disabled."""
    if config.mode == "disabled":
        return None
    mode = resolve_mode(config.mode, os.environ, key_is_configured)
    return None if mode == "disabled" else WandbTracker(config, mode, run_dir, resolved_config)


def check_wandb(config: WandbConfig) -> None:
    """Raise `ConfigError` if the run could not start, before anything is written."""
    resolve_mode(config.mode, os.environ, key_is_configured)


def _run_id(run_dir: Path) -> str:
    path = run_dir / _ID_FILE
    if not path.exists():
        path.write_text(secrets.token_hex(4) + "\n", encoding="utf-8")
    return path.read_text(encoding="utf-8").strip()


def _folder(run: Any) -> Path:
    return Path(run.dir).parent
