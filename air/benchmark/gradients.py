"""Estimators at fixed parameters: how far off, how noisy and how slow their gradients are."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from pathlib import Path

import pyro

from air.acceleration.threads import computing_with
from air.benchmark.config import GradientsConfig
from air.benchmark.gradient_noise import NoiseRow, Parameters, measure_noise
from air.benchmark.gradient_pictures import draw_noise
from air.benchmark.gradient_slopes import SlopeRow, measure_slopes
from air.benchmark.tables import markdown_table
from air.benchmark.workloads import build_trainer
from air.cli.arguments import command_words
from air.cli.compose import compose_config
from air.config.schema import Config
from air.data.loading import load_data
from air.errors import ConfigError
from air.fields import WhichCheckpoint
from air.inference.config import InferenceConfig
from air.pictures.figure_files import save_figure
from air.runs.files import write_csv
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
    exact = _estimator("ELBO", "inference=marginal")  # which all are compared with
    estimators = {name: _estimator(name, config.estimators[name]) for name in _chosen(config)}
    chosen = [
        (_with(of, exact), {name: _with(of, each) for name, each in estimators.items()})
        for of in runs
    ]
    found = Comparison([], [])
    with computing_with(runs[0].config.train.threads), pyro.validation_enabled(False):
        for parameters, (reference, candidates) in zip(runs, chosen, strict=True):
            noise = list(measure_noise(parameters, reference, candidates, config))
            log.info("%s:\n%s", parameters.where, markdown_table(noise))
            found.noise.extend(noise)
            if config.num_slopes:
                slopes = list(measure_slopes(parameters, config))
                log.info("%s, slopes:\n%s", parameters.where, markdown_table(slopes))
                found.slopes.extend(slopes)
    tables: dict[str, list[NoiseRow] | list[SlopeRow]]
    tables = {"noise": found.noise, "slopes": found.slopes}
    for name, rows in tables.items():
        if rows:
            names = [field.name for field in fields(rows[0])]
            write_csv(folder / f"{name}.csv", names, map(asdict, rows))
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
    run = compose_config((*command_words("overrides", config.overrides), *ours))
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


def _estimator(name: str, overrides: str) -> InferenceConfig:
    """Return an estimator, all of whose objective counts from the beginning.

    Raises:
        ConfigError: the overrides are wrong.
    """
    words = command_words(f"estimators.{name}", overrides)
    for word in words:
        if word.lstrip("+").partition("=")[0].partition(".")[0] not in ("inference", "baseline"):
            raise ConfigError(
                f"estimators.{name}: must set inference and baseline alone, got {word}"
            )
    return replace(compose_config(words).inference, warm_up_iterations=0)


def _with(parameters: Parameters, estimator: InferenceConfig) -> Config:
    """Return a run that is another in its estimator alone.

    Raises:
        ConfigError: the estimator has no meaning for the model.
    """
    run = replace(parameters.config, inference=estimator)
    run.check()
    return run
