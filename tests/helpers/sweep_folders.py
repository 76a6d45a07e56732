"""Folders of sweeps as `train.py -m` leaves them, written without training."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import yaml

from air.cli.compose import compose_values
from air.cli.jobs import sweep_jobs
from air.runs.folder import METRICS_FILE, OVERRIDES_FILE, write_config
from air.runs.result import RunResult, write_result

BASIC = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"


def make_sweep(
    folder: Path, overrides: Sequence[str], sweeper: str = BASIC, params=None, of_hydra=()
) -> Path:
    """Write a sweep's folder without jobs."""
    folder.mkdir(parents=True)
    hydra = {
        "sweeper": {"_target_": sweeper, "params": params},
        "overrides": {"hydra": ["hydra.mode=MULTIRUN", *of_hydra], "task": list(overrides)},
    }
    (folder / "multirun.yaml").write_text(yaml.safe_dump({"hydra": hydra}))
    return folder


def fill_sweep(
    sweep: Path, metrics: Callable[[dict], list[dict]], leave_out: Sequence[int] = ()
) -> None:
    """Write finished jobs, with the metrics that a function makes of their configurations."""
    for number, overrides in enumerate(sweep_jobs(sweep)):
        if number not in leave_out:
            make_run(sweep / str(number), overrides, metrics)


def make_run(
    folder: Path,
    overrides: Sequence[str],
    metrics: Callable[[dict], list[dict]] | Sequence[dict],
    status: str | None = "finished",
    error: str | None = None,
    collapsed: str | None = None,
) -> Path:
    """Write a run's folder; with status None it has not ended."""
    folder.mkdir(parents=True)
    values = compose_values(overrides)
    write_config(folder, values, list(overrides))
    lines = metrics(values) if callable(metrics) else list(metrics)
    write_metrics(folder, lines)
    if status is not None:
        iteration = lines[-1]["iteration"] if lines else 0
        write_result(folder, RunResult(status, iteration, None, {}, error, collapsed))
    return folder


def fail_early(folder: Path, overrides: Sequence[str], error: str) -> None:
    """Write a job's folder that failed before it became a run."""
    folder.mkdir(parents=True)
    (folder / OVERRIDES_FILE).write_text(yaml.safe_dump(list(overrides)))
    write_result(folder, RunResult("failed", 0, None, {}, error, None))


def write_metrics(folder: Path, lines: Sequence[dict]) -> None:
    """Write metrics as the tracker does."""
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / METRICS_FILE).write_text(text)


def accuracies(*values: float | None, every: int = 10) -> list[dict]:
    """Return lines with a count accuracy, `every` so many iterations."""
    return [
        {"iteration": every * (i + 1), "time": float(i), "val/count_accuracy": value}
        for i, value in enumerate(values)
    ]
