"""Estimators at fixed parameters: how far off, how noisy and how slow their gradients are."""

from __future__ import annotations

import csv
import io
import logging
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pyro

from air.acceleration.threads import computing_with
from air.benchmark.config import GradientsConfig
from air.benchmark.gradient_noise import NoiseRow, Parameters, measure_noise
from air.benchmark.gradient_pictures import draw_noise
from air.benchmark.gradient_slopes import SlopeRow, measure_slopes
from air.benchmark.tables import markdown_table
from air.benchmark.workloads import build_trainer
from air.cli.compose import compose_config
from air.config.schema import Config
from air.data.loading import load_data
from air.errors import ConfigError
from air.fields import WhichCheckpoint
from air.pictures.figure_files import save_figure
from air.runs.files import make_folder, write_whole
from air.runs.trained import open_run
from air.training.run import choose_device

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Comparison:
    """What was measured.

    Attributes:
        noise: a row for each estimator and each checkpoint.
        slopes: a row for each part of the model and each checkpoint.
    """

    noise: list[NoiseRow]
    slopes: list[SlopeRow]


def compare_gradients(config: GradientsConfig) -> Comparison:
    """Measure every estimator at every checkpoint; print, draw and write.

    Args:
        config: of which run, and what.

    Raises:
        AIRError: the run or a setting cannot be used; nothing was measured then.
    """
    folder = _output_folder(config)
    runs = _parameters(config)
    for each in runs:
        _with_estimator(each, "ELBO", "inference=marginal")  # which all are compared with
    estimators = {
        name: [_with_estimator(of, name, config.estimators[name]) for of in runs]
        for name in _chosen(config)
    }
    found = Comparison([], [])
    threads = runs[0].config.train.threads
    with computing_with(threads), pyro.validation_enabled(False):
        for number, parameters in enumerate(runs):
            of_estimators = {name: configs[number] for name, configs in estimators.items()}
            found.noise.extend(measure_noise(parameters, of_estimators, config))
            log.info("%s:\n%s", parameters.where, markdown_table(found.noise[-len(estimators) :]))
            if config.num_slopes:
                slopes = list(measure_slopes(parameters, config))
                log.info(
                    "%s, %s attention:\n%s",
                    parameters.where,
                    parameters.attention,
                    markdown_table(slopes),
                )
                found.slopes.extend(slopes)
    for name, rows in (("noise", found.noise), ("slopes", found.slopes)):
        if rows:
            _write(folder / f"{name}.csv", rows)
    save_figure(draw_noise(found.noise), folder / "noise", config.formats)
    log.info("written to %s", folder)
    return found


def _chosen(config: GradientsConfig) -> list[str]:
    if config.only is None:
        return list(config.estimators)
    for name in config.only:
        if name not in config.estimators:
            known = ", ".join(config.estimators)
            raise ConfigError(f"only: must be among the estimators, {known}, got {name}")
    return config.only


def _output_folder(config: GradientsConfig) -> Path:
    if config.output is not None:
        folder = Path(config.output)
    elif config.run is not None:
        folder = Path(config.run) / "gradients"
    else:
        folder = Path("outputs/gradients") / f"{datetime.now():%Y-%m-%d-%H-%M-%S}"
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"output: must be a folder, got the file {folder}")
    return folder


def _parameters(config: GradientsConfig) -> list[Parameters]:
    """Return the models whose gradients are taken, with the images that they are taken of."""
    if config.run is None:
        if config.which != ["latest"]:
            raise ConfigError(f"which: must be latest without a run, got {config.which}")
        return [_fresh(config)]
    if config.overrides:
        raise ConfigError(f"overrides: must be empty with a run, got {config.overrides!r}")
    return [_trained(config, config.run, which) for which in config.which]


def _fresh(config: GradientsConfig) -> Parameters:
    ours = ("tracking=none", f"device={config.device}", f"seed={config.seed}")
    run = compose_config((*words("overrides", config.overrides), *ours))
    data = load_data(run.data)
    with pyro.get_param_store().scope():
        trainer = build_trainer(run, data)
    return Parameters("fresh weights", 0, trainer.config, trainer.air, data.test)


def _trained(config: GradientsConfig, folder: str, which: WhichCheckpoint) -> Parameters:
    run = open_run(folder, which)
    ours = replace(run.config, device=config.device)
    air = run.air.train().to(choose_device(ours))
    scenes = load_data(run.config.data).test
    run.check_images(scenes.x_size, scenes.num_channels)
    return Parameters(f"iteration {run.iteration}", run.iteration, ours, air, scenes)


def _with_estimator(parameters: Parameters, name: str, overrides: str) -> Config:
    """Return a run that is another in its estimator alone.

    Raises:
        ConfigError: the overrides are wrong, or the estimator has no meaning for the model.
    """
    given = words(f"estimators.{name}", overrides)
    for override in given:
        if override.lstrip("+").partition("=")[0].partition(".")[0] not in (
            "inference",
            "baseline",
        ):
            raise ConfigError(
                f"estimators.{name}: must set inference and baseline alone, got {override}"
            )
    chosen = replace(parameters.config, inference=compose_config(given).inference)
    chosen.check()
    return chosen


def words(key: str, text: str) -> list[str]:
    """Return the words of a command line.

    Raises:
        ConfigError: a quotation mark is left open.
    """
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ConfigError(f"{key}: must be as on a command line, got {text!r}: {error}") from None


def _write(file: Path, rows: Sequence[Any]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(asdict(rows[0])), lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    make_folder(file.parent)
    write_whole(file, text.getvalue().encode())
