"""One evaluation from its configuration: measure, print, write, and track if asked."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import torch
from tabulate import tabulate
from tqdm import tqdm

from air.acceleration.threads import computing_with
from air.config.parsing import parse_as
from air.errors import ConfigError, NotKnownError
from air.evaluation.config import EvaluateConfig
from air.evaluation.interval import HIGH, LOW
from air.evaluation.subject import Measurement, build_subject, load_evaluator
from air.fields import config_values
from air.runs.files import make_folder, write_whole
from air.runs.lock import held
from air.runs.trained import TrainedRun, open_run
from air.tracking.config import WandbConfig
from air.tracking.environment import WANDB_VARIABLES, wandb_default
from air.tracking.tracker import NullTracker
from air.tracking.values import ConfusionMatrix

log = logging.getLogger(__name__)

_RESULT_FILE = "evaluation"


def evaluate_run(config: EvaluateConfig) -> dict[str, Measurement]:
    """Measure a run with every evaluator asked for; print and write the metrics.

    Args:
        config: which run, what, and on which data.

    Returns:
        All metrics by name, such as "counts/accuracy".

    Raises:
        AIRError: the run, the data or a setting cannot be used; nothing was measured then.
    """
    evaluators = {name: load_evaluator(name) for name in config.evaluators}
    run = open_run(config.run, config.which)
    output = output_file(config, run.folder)
    if config.output is not None and not output.parent.is_dir():
        raise ConfigError(f"output: must be a file in a folder that exists, got {output}")
    if config.track:
        _tracking(run).check()
    with computing_with(run.config.train.threads), pyro.validation_enabled(False):
        subject = build_subject(run, config)
        make_folder(output.parent)  # a shipped model's is not there at first
        metrics: dict[str, Measurement] = {}
        for name, evaluator in tqdm(evaluators.items(), desc="evaluators", leave=False):
            torch.manual_seed(config.seed)
            try:
                for metric, value in evaluator(subject):
                    metrics[f"{name}/{metric}"] = value
            except NotKnownError as reason:
                log.warning("%s: not measured: %s", name, reason)
    print(metrics_table(metrics))
    _write(output, config, run, metrics)
    log.info("%d images at iteration %d; written to %s", len(subject.scenes), run.iteration, output)
    if config.track:
        _track(config, run, metrics)
    return metrics


def output_file(config: EvaluateConfig, folder: Path) -> Path:
    """Return where the metrics go; other data than the run's own has a file of its own.

    Args:
        config: which may say where.
        folder: of the run, where they go otherwise.
    """
    if config.output is not None:
        return Path(config.output)
    return folder / f"{_RESULT_FILE}{_other_data(config)}.json"


def _other_data(config: EvaluateConfig) -> str:
    """Return what tells metrics of other data from those of the run's own."""
    if config.data is None:
        return ""
    values = json.dumps(config_values(config.data), sort_keys=True)
    return f"-{config.data.kind}-{sha256(values.encode()).hexdigest()[:8]}"


def metrics_table(metrics: dict[str, Measurement]) -> str:
    """Return numbers as one table, with their intervals, and each matrix as one of its own."""
    rows: list[list[str]] = []
    texts: list[str] = []
    for name, value in metrics.items():
        if isinstance(value, list):
            texts.append(f"{name}\n{_matrix(name, value)}")
        elif not _ends_an_interval(name, metrics):
            ends = (metrics.get(name + LOW), metrics.get(name + HIGH))
            rows.append([name, *("" if each is None else _text(each) for each in (value, *ends))])
    if rows:
        columns = 4 if any(row[2] for row in rows) else 2  # no empty ones
        texts.insert(
            0,
            tabulate(
                [row[:columns] for row in rows],
                ("metric", "value", "from", "to (95 %)")[:columns],
                disable_numparse=True,
                colalign=("left", "right", "right", "right")[:columns],
            ),
        )
    return "\n\n".join(texts)


def _ends_an_interval(name: str, metrics: dict[str, Measurement]) -> bool:
    return any(name.endswith(end) and name.removesuffix(end) in metrics for end in (LOW, HIGH))


def _text(value: Measurement) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _matrix(name: str, rows: Sequence[Sequence[float]]) -> str:
    if name == "counts/confusion":
        columns = ["true \\ inferred", *map(str, range(len(rows[0])))]
        return tabulate([[n, *row] for n, row in enumerate(rows)], columns)
    return tabulate(rows, ("confidence", "accuracy"), floatfmt=".3f")


def _write(
    output: Path, config: EvaluateConfig, run: TrainedRun, metrics: dict[str, Measurement]
) -> None:
    content = {
        "run": config.run,
        "iteration": run.iteration,
        "settings": config_values(config),
        "metrics": {name: _plain(value) for name, value in metrics.items()},
    }
    write_whole(output, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


def _plain(value: Measurement) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None  # JSON has no infinity and no nan
    return value


def _tracking(run: TrainedRun) -> WandbConfig:
    """Return how W&B tracked the training or, where it did not, a run of the evaluation alone."""
    tracking = run.config.tracking
    if isinstance(tracking, WandbConfig):
        return tracking
    defaults = {"project": "air", "run_name": run.folder.name, "job_type": "evaluate"}
    values = {field: wandb_default(field, defaults.get(field)) for field in WANDB_VARIABLES}
    return parse_as(WandbConfig, {**values, "kind": "wandb", "mode": "auto"})


def _track(config: EvaluateConfig, run: TrainedRun, metrics: dict[str, Measurement]) -> None:
    """Put the numbers into the summary of the run on W&B, and the confusion matrix beside them."""
    make_folder(run.folder)
    with held(run.folder):  # a run in training is writing to W&B itself
        tracker = _tracking(run).build(run.folder, config_values(run.config))
        if isinstance(tracker, NullTracker):
            log.warning("track: W&B is disabled, so nothing was tracked")
            return
        named = {f"test{_other_data(config)}/{name}": value for name, value in metrics.items()}
        for name, value in named.items():
            if name.endswith("/confusion"):
                tracker.log(run.iteration, {name: ConfusionMatrix(np.array(value))})
        tracker.summarize({k: v for k, v in named.items() if not isinstance(v, list)})
        tracker.finish(0)
