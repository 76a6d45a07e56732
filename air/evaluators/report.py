"""One evaluation from its configuration: measure, print, write, and track if asked."""

from __future__ import annotations

import json
import logging
import math
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyro
import torch
from tabulate import tabulate
from tqdm import tqdm

from air.config import WandbConfig, config_values, parse_as
from air.config.evaluate import EvaluateConfig
from air.errors import ConfigError, NotKnownError
from air.evaluators import build_evaluator, build_subject
from air.evaluators.bound import check_num_samples
from air.evaluators.subject import Value
from air.files import write_whole
from air.run_folder import held
from air.tracking import check_tracking, open_wandb
from air.trained import TrainedRun, open_run

log = logging.getLogger(__name__)

_RESULT_FILE = "evaluation"


def evaluate_run(config: EvaluateConfig) -> dict[str, Value]:
    """Measure a run with every evaluator asked for; print and write the figures.

    Args:
        config: which run, what, and on which data.

    Returns:
        All figures by name, such as "counts/accuracy".

    Raises:
        AIRError: the run, the data or a setting cannot be used; nothing was measured then.
    """
    check_num_samples(config)
    run = open_run(config.run, config.which)
    output = output_file(config)
    if not output.parent.is_dir():
        raise ConfigError(f"output: must be a file in a folder that exists, got {output}")
    if config.track:
        check_tracking(_tracking(run))
    with pyro.validation_enabled(False):
        subject = build_subject(run, config)
        figures: dict[str, Value] = {}
        for name in tqdm(config.evaluators, desc="evaluators", leave=False):
            torch.manual_seed(config.seed)
            try:
                for figure, value in build_evaluator(name)(subject):
                    figures[f"{name}/{figure}"] = value
            except NotKnownError as reason:
                log.warning("%s: not measured: %s", name, reason)
    print(table(figures))
    _write(output, config, run, figures)
    log.info("%d images at iteration %d; written to %s", len(subject.scenes), run.iteration, output)
    if config.track:
        _track(run, figures)
    return figures


def output_file(config: EvaluateConfig) -> Path:
    """Return where the figures go; other data than the run's own has a file of its own."""
    if config.output is not None:
        return Path(config.output)
    suffix = ""
    if config.data is not None:
        values = json.dumps(config_values(config.data), sort_keys=True)
        suffix = f"-{config.data.kind}-{sha256(values.encode()).hexdigest()[:8]}"
    return Path(config.run) / f"{_RESULT_FILE}{suffix}.json"


def table(figures: dict[str, Value]) -> str:
    """Return numbers as one table, and each matrix as one of its own."""
    numbers = [(name, value) for name, value in figures.items() if not isinstance(value, list)]
    texts = [tabulate(numbers, headers=("figure", "value"), floatfmt=".4f")] if numbers else []
    for name, value in figures.items():
        if isinstance(value, list):
            texts.append(f"{name}\n{tabulate(value, floatfmt='.3f')}")
    return "\n\n".join(texts)


def _write(
    output: Path, config: EvaluateConfig, run: TrainedRun, figures: dict[str, Value]
) -> None:
    content = {
        "run": str(run.folder),
        "iteration": run.iteration,
        "settings": config_values(config),
        "figures": {name: _plain(value) for name, value in figures.items()},
    }
    write_whole(output, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


def _plain(value: Value) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None  # JSON has no infinity and no nan
    return value


def _tracking(run: TrainedRun) -> WandbConfig:
    """Return how W&B tracked the training or, where it did not, a run of the evaluation alone."""
    tracking = run.config.tracking
    if isinstance(tracking, WandbConfig):
        return tracking
    return parse_as(
        WandbConfig,
        {
            "kind": "wandb",
            "mode": "auto",
            "project": "air",
            "entity": None,
            "run_name": run.folder.name,
            "group": None,
            "job_type": "evaluate",
            "tags": [],
            "notes": None,
        },
    )


def _track(run: TrainedRun, figures: dict[str, Value]) -> None:
    """Put the numbers into the summary of the run on W&B."""
    with held(run.folder):  # a run in training is writing to W&B itself
        tracker = open_wandb(_tracking(run), run.folder, config_values(run.config))
        if tracker is None:
            log.warning("track: W&B is disabled, so nothing was tracked")
            return
        numbers = {f"test/{k}": v for k, v in figures.items() if not isinstance(v, list)}
        tracker.summarize(numbers)
        tracker.finish(0)
