"""One run from its configuration: config -> data -> model and guide -> inference -> trainer."""

from __future__ import annotations

import contextlib
import functools
import logging
from pathlib import Path

import pyro
import torch

from air.acceleration.allocator import keep_freed_memory
from air.acceleration.threads import computing_with
from air.config.quoting import to_paste
from air.config.schema import Config
from air.data.ground import grounds_of
from air.data.loading import load_data
from air.data.remarks import remarks
from air.data.scenes import TrainingScenes, sampled
from air.errors import ConfigError, ProcessLostError, RunFolderError, WriteError
from air.evaluation.held_out import Evaluation
from air.fields import config_values
from air.model.air import AIR
from air.pictures.figure_files import save_figure
from air.pictures.prior_samples import draw_prior_samples, sample_scenes
from air.pictures.reconstructions import draw_reconstructions
from air.runs.checkpoint import load_weights, read_latest, when_written
from air.runs.folder import PICTURES_FOLDER, check_run_folder, claimed, write_config
from air.runs.result import RunResult, discard_result, failure, write_result
from air.tracking.tracker import NullTracker, Tracker
from air.tracking.trackers import build_tracker
from air.training.gradients import check_step
from air.training.launch import ONE_PROCESS, Launch, find_launch
from air.training.processes import Processes, joined
from air.training.random_state import seed_noise
from air.training.signals import Interruption, caught
from air.training.trainer import Outcome, Trainer

log = logging.getLogger(__name__)


def train(config: Config, run_dir: Path, overrides: list[str]) -> float:
    """Train AIR as configured; everything about the run goes to its folder.

    Args:
        config: the run; `config.resume` says that the folder holds it already.
        run_dir: the run's folder.
        overrides: what the command line changed, for the record.

    Returns:
        The held-out count accuracy or, without truth, the held-out ELBO per image.

    Raises:
        AIRError: something the user gave cannot be used; nothing was written then.
        WriteError: a file of the run could not be written; what was written before is whole.
        ProcessLostError: another process of the run has ended; the last checkpoint stays.
        SystemExit: a signal came; the run was saved, or finished if it was nearly done. Its code is
            that of `Interruption`.
    """
    keep_freed_memory()
    launch = find_launch()
    config.shared_by(launch.size)  # or say at once why not
    device = choose_device(config, launch)
    check_step(config, device)
    # The parameters are known to Pyro under names that another model in this process may have.
    scope = pyro.get_param_store().scope()
    with computing_with(config.train.threads), joined(device) as processes, scope:
        try:
            return _train(config, run_dir, overrides, device, processes)
        except ProcessLostError as error:
            message = f"{error}; {to_paste('resume', run_dir)} resumes from what was saved"
            raise ProcessLostError(message) from error


def _train(
    config: Config,
    run_dir: Path,
    overrides: list[str],
    device: torch.device,
    processes: Processes,
) -> float:
    """Train as one of several processes; the first one owns the folder."""
    resume = config.resume is not None
    if processes.is_first:
        check_run_folder(run_dir, resume)
        config.tracking.check()
        data = load_data(config.data)
        for line in [
            *config.inference.remarks,
            *remarks(data.train, config.background.kind == "none"),
        ]:
            log.warning("%s", line)
    processes.wait()  # so that the first one draws scenes, and says so
    if not processes.is_first:
        data = load_data(config.data)
    config.check_images(data.train.x_size, len(data.train), data.train.num_channels)
    for scenes in (data.train, data.test):
        config.likelihood.check_images(functools.partial(sampled, scenes))
    automatic = config.model.automatic
    config = processes.by_first(functools.partial(config.fitted_to, data.train))
    max_count = data.train.max_count
    if max_count is not None and max_count > config.model.num_steps:
        log.warning(
            "images have up to %d objects, and the model looks for %d: raise model.num_steps",
            max_count,
            config.model.num_steps,
        )
    written = when_written(run_dir)
    checkpoint_file, checkpoint = (resume and read_latest(run_dir)) or (None, None)
    start = checkpoint.iteration if checkpoint else 0

    pyro.set_rng_seed(config.seed)
    air = config.build_model(data.train.x_size, data.train.num_channels).to(device)
    if checkpoint and checkpoint_file:
        load_weights(air, checkpoint.model, checkpoint_file)
    else:
        begin(config, air, data.train)
    processes.copy_first(air)
    if not processes.is_first:
        seed_noise(config.seed, start, processes.rank)
    objective = config.shared_by(processes.size).build_objective()

    folder = claimed(run_dir, resume) if processes.is_first else contextlib.nullcontext()
    # Pyro's validation checks every value of every distribution in every step; tests have it on.
    # Signals wait from here on: until an iteration is done, or, at the end, until all is written.
    with folder, caught() as interruption, pyro.validation_enabled(False):
        tracker: Tracker = NullTracker()
        if processes.is_first:
            if when_written(run_dir) != written:  # read before the folder was this run's
                raise RunFolderError(f"{run_dir}: another process resumed this run meanwhile")
            discard_result(run_dir)
            values = {**config_values(config), "resume": None}
            write_config(run_dir, values, overrides)
            log.info("run folder: %s", run_dir)
            for key in automatic:
                found = values["model"][key.removeprefix("model.")]
                log.info("%s: %s, found from the training images", key, found)
            if processes.size > 1:
                log.info("each of %d processes takes its share of a batch", processes.size)
            only_last_evaluation = start == config.train.num_iterations
            tracker = build_tracker(
                config.tracking, run_dir, values, start if resume else None, only_last_evaluation
            )
        exit_code, trainer = 1, None
        try:
            trainer = Trainer(config, air, objective, data, run_dir, tracker, processes)
            if checkpoint and checkpoint_file:
                trainer.restore(checkpoint)
            if resume:
                log.info("resumed at iteration %d", start)
            outcome = trainer.fit(interruption)
            if outcome.evaluation is None:
                exit_code = interruption.exit_code
                if processes.is_first:
                    _record_stop(run_dir, outcome.iteration, interruption)
                raise SystemExit(exit_code)
            metric = outcome.evaluation.metric
            if processes.is_first:
                summary = _conclude(config, trainer, outcome)
                collapsed = trainer.collapse.collapsed
                result = RunResult("finished", outcome.iteration, metric, summary, None, collapsed)
                write_result(run_dir, result)
            exit_code = 0
        except Exception as error:
            if processes.is_first:
                with contextlib.suppress(WriteError):  # the disk may be what failed
                    write_result(run_dir, failure(error, trainer.iteration if trainer else start))
            raise
        finally:
            tracker.finish(exit_code)
        if interruption.signal is not None:  # this run is done, but a sweep must not continue
            raise SystemExit(interruption.exit_code)
    return metric


def begin(config: Config, air: AIR, train: TrainingScenes) -> None:
    """Let a new model begin with what training images share, where it has a background."""
    if config.background.kind != "none":
        images = sampled(train)
        air.start_at(images, grounds_of(images))


def _record_stop(run_dir: Path, iteration: int, interruption: Interruption) -> None:
    """Record that a signal stopped the run, and say how to resume it."""
    write_result(run_dir, RunResult("stopped", iteration, None, {}, None, None))
    log.warning(
        "stopped by %s at iteration %d; continue with: python scripts/train.py %s",
        interruption.signal and interruption.signal.name,
        iteration,
        to_paste("resume", run_dir),
    )


def choose_device(config: Config, launch: Launch = ONE_PROCESS) -> torch.device:
    """Return the device that the configuration means.

    Args:
        config: the run.
        launch: which process this is: of several on one machine, each has its own GPU.

    Raises:
        ConfigError: cuda is asked for, and there is none, or not one for each process.
    """
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "device: must be auto or cpu on this machine, which has no GPU, got 'cuda'"
        )
    if config.device == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    if launch.size == 1:
        return torch.device("cuda")
    if launch.local_size > torch.cuda.device_count():
        raise ConfigError(
            f"device: must be cpu for {launch.local_size} processes on this machine, which has "
            f"{torch.cuda.device_count()} GPUs, got {config.device!r}"
        )
    device = torch.device("cuda", launch.local_rank)
    torch.cuda.set_device(device)
    return device


def _conclude(config: Config, trainer: Trainer, outcome: Outcome) -> dict[str, float | int | str]:
    """Draw the pictures, say how it went, and return the summary."""
    evaluation = outcome.evaluation
    assert evaluation is not None
    num = min(config.train.num_pictures, len(trainer.data.test))
    if num:
        _save_pictures(trainer, evaluation, num)
    summary: dict[str, float | int | str] = {"iterations": outcome.iteration}
    summary |= {f"val/{name}": value for name, value in evaluation.elbo_parts.items()}
    summary |= trainer.best.metrics()
    if evaluation.count_accuracy is not None:
        summary["val/count_accuracy"] = evaluation.count_accuracy
        log.info(
            "held-out count accuracy: %.2f %% of %d images",
            100 * evaluation.count_accuracy,
            len(trainer.data.test),
        )
    else:
        log.info("held-out count accuracy: not known, as the data has no counts")
    log.info("held-out ELBO: %.1f nats an image", evaluation.elbo_parts["elbo"])
    if num:
        log.info("pictures: %s", trainer.run_dir / PICTURES_FOLDER)
    trainer.tracker.summarize(summary)
    if trainer.best.best is not None:
        trainer.tracker.keep_model(trainer.best.path, trainer.best.metrics())
    return summary


def _save_pictures(trainer: Trainer, evaluation: Evaluation, num: int) -> None:
    """Draw what the trained model makes of held-out scenes; `scripts/visualize.py` draws more."""
    air, test = trainer.air, trainer.data.test
    folder = trainer.run_dir / PICTURES_FOLDER
    chosen = {"reconstructions": test.varied(num)}
    if test.count is not None:
        wrong = (evaluation.count != test.count).nonzero().flatten()[:num]
        if len(wrong):
            chosen["mistakes"] = test.subset(wrong)
    for name, scenes in chosen.items():
        posterior = air.infer_scenes(scenes.images)
        save_figure(draw_reconstructions(scenes.images, posterior, scenes.count), folder / name)
    counts = range(1, air.num_steps + 1)
    samples = [sample_scenes(air, count, num, seed=0) for count in counts]
    save_figure(draw_prior_samples(samples, counts), folder / "prior_samples")
