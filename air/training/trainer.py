"""The training loop: batches, gradients, Adam; evaluations and checkpoints at intervals."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyro
import torch
from torch import Tensor

from air.config.schema import Config
from air.data.scenes import Data, Scenes
from air.errors import NonFiniteLossError
from air.evaluation.held_out import Evaluation, evaluate
from air.fields import config_values
from air.inference.objective import Objective
from air.model.air import AIR
from air.model.baselines import joined_averages, moving_averages
from air.model.images import to_unit
from air.pictures.figure_files import save_figure
from air.pictures.reconstructions import draw_reconstructions, tracked_reconstructions
from air.runs.best import BestModel
from air.runs.checkpoint import Checkpoint, save_checkpoint, write_checkpoint
from air.runs.folder import PICTURES_FOLDER
from air.tracking.console import Progress
from air.tracking.tracker import Tracker
from air.tracking.values import Value
from air.training.batches import BatchOrder
from air.training.collapse import CollapseWatch
from air.training.gradients import build_gradients, objective_settings
from air.training.metrics import Totals
from air.training.optim import build_optimizer, build_scheduler, restore_optimizer
from air.training.processes import ALONE, Processes
from air.training.random_state import joined_states, random_states, restore_noise
from air.training.signals import Interruption


@dataclass(frozen=True)
class Outcome:
    """How training ended: after how many iterations, and what the last evaluation said."""

    iteration: int
    evaluation: Evaluation | None  # None: interrupted


class Trainer:
    """Trains a model, and holds what a checkpoint must.

    Args:
        config: the run.
        air: the model, on its device.
        objective: what a step minimises.
        data: images to train on, and held-out ones.
        run_dir: where checkpoints go.
        tracker: where metrics go.
        processes: that train the model together; each has all of the data.
    """

    def __init__(
        self,
        config: Config,
        air: AIR,
        objective: Objective,
        data: Data,
        run_dir: Path,
        tracker: Tracker,
        processes: Processes = ALONE,
    ) -> None:
        self.config = config
        self.air = air
        self.objective = objective
        self.presence_schedule = config.prior.build(air.num_steps)
        self.data = data
        self.run_dir = run_dir
        self.tracker = tracker
        self.processes = processes
        self.device = air.device
        self.iteration = 0
        self.optimizer = build_optimizer(config.optim, air)
        self.scheduler = build_scheduler(config.optim, self.optimizer, config.train.num_iterations)
        self.order = BatchOrder(len(data.train), config.train.batch_size, config.seed)
        # Each process asks for its share of a batch.
        self._batch = data.train.batches(
            lambda iteration: processes.share(self.order.indices(iteration)), self.device
        )
        self._parameters = list(air.parameters())
        self._totals = Totals()
        self._saved_at: int | None = None
        self._interruption = Interruption()
        self._stopping = False
        self._few = data.test.subset(slice(config.train.eval_size))  # of the held-out scenes
        # Training images may be on disk.
        self.gradients = build_gradients(config, objective, air, self._few.images)
        self.best = BestModel(run_dir, len(self._few), self._few.count is not None)
        self.collapse = CollapseWatch(config, tracker)

    def fit(self, interruption: Interruption) -> Outcome:
        """Train from the present iteration to the last, or until a signal comes.

        Raises:
            NonFiniteLossError: a term of the loss is not finite; the last checkpoint stays.
            ProcessLostError: another process has ended; likewise.
        """
        try:
            return self._fit(interruption)
        except RuntimeError as error:  # a GPU says what went wrong when it is next waited for
            if "device-side assert" not in str(error):
                raise
            raise self._not_finite(
                "the GPU met a number that it cannot go on with, most probably one that is not "
                "finite"
            ) from error

    def _fit(self, interruption: Interruption) -> Outcome:
        train = self.config.train
        self._totals.start_clock()
        self._interruption = interruption
        if self.iteration in train.keep_at:
            self.save()
        with Progress(
            train.num_iterations, self.iteration, shown=self.processes.is_first
        ) as progress:
            while self.iteration < train.num_iterations:
                self.step()
                progress.advance(self.iteration)
                last = self.iteration == train.num_iterations
                if self.iteration % train.log_every == 0 or last:
                    progress.show(self.iteration, loss=self._log_training())
                # Before saving, so that what a checkpoint stands for has been evaluated.
                with self._totals.paused():
                    if self.iteration % train.eval_every == 0 and not last:
                        evaluation = self.evaluate(self._few)
                        progress.show(self.iteration, **evaluation.in_short())
                    if self.iteration % train.save_every == 0 or self.iteration in train.keep_at:
                        self.save()
                if self._is_to_stop():  # nothing that was due here is left out
                    number = self.processes.highest(interruption.signal or 0)
                    interruption.signal = signal.Signals(number)  # of whichever process got one
                    self.save()
                    return Outcome(self.iteration, None)
        self.save()  # the last weights, before the long last evaluation
        return Outcome(self.iteration, self.evaluate(self.data.test))

    def evaluate(self, scenes: Scenes) -> Evaluation:
        """Evaluate on held-out scenes, log what was found, and keep the model if it is the best.

        The first process does; the others wait for what it finds.
        """
        evaluation, is_best = self.processes.by_first(lambda: self._evaluate(scenes))
        if is_best:
            self._write(lambda checkpoint: write_checkpoint(self.best.path, checkpoint))
        return evaluation

    def _evaluate(self, scenes: Scenes) -> tuple[Evaluation, bool]:
        evaluation = self._measure(scenes)
        is_best = self.best.see(self.iteration, self._comparable(evaluation))
        values: dict[str, Value] = {**evaluation.metrics(self.air.num_steps)}
        num_pictures = min(self.config.train.num_pictures, len(scenes))
        if num_pictures:
            shown = scenes.varied(num_pictures)
            posterior = self.air.infer_scenes(shown.images)
            values["val/reconstructions"] = tracked_reconstructions(shown.images, posterior)
            save_figure(
                draw_reconstructions(shown.images, posterior, shown.count),
                self.run_dir / PICTURES_FOLDER / f"reconstructions-{self.iteration:08d}",
            )
        self.tracker.log(self.iteration, {**values, **self.best.metrics()})
        self.collapse.see(self.iteration, evaluation.count, scenes.count)
        return evaluation, is_best

    def save(self) -> None:
        """Write a numbered checkpoint of this iteration, unless that has been done.

        All processes have to come here; the first one writes.

        Raises:
            NonFiniteLossError: a parameter is not finite.
        """
        if self._saved_at != self.iteration:
            keep_at = self.config.train.keep_at
            self._write(lambda checkpoint: save_checkpoint(self.run_dir, checkpoint, keep_at))
            self._saved_at = self.iteration

    def _write(self, write: Callable[[Checkpoint], None]) -> None:
        """Write the state of this iteration, of which each process has a part."""
        for name, parameter in self.air.named_parameters():
            if not parameter.isfinite().all():
                raise NonFiniteLossError(
                    f"iteration {self.iteration}: parameter {name} is not finite; "
                    f"the last good checkpoint in {self.run_dir} is kept"
                )
        averages = moving_averages(pyro.get_param_store().items())
        gathered = self.processes.gather((random_states(self.device), averages))
        if self.processes.is_first:
            write(
                Checkpoint(
                    config=config_values(self.config),
                    x_size=self.air.x_size,
                    num_channels=self.air.num_channels,
                    iteration=self.iteration,
                    model=self.air.state_dict(),
                    optimizer=self.optimizer.state_dict(),
                    random_states=joined_states([states for states, _ in gathered]),
                    moving_averages=joined_averages([averages for _, averages in gathered]),
                    best=self.best.note(),
                    collapse=self.collapse.note(),
                    sums=self._totals.sums,
                    num_summed=self._totals.iterations,
                ),
            )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Resume from a checkpoint exactly where it was written.

        Args:
            checkpoint: of a run with the same model, whose weights the model has already.
        """
        restore_optimizer(self.optimizer, checkpoint.optimizer)
        optim, total = self.config.optim, self.config.train.num_iterations
        self.scheduler = build_scheduler(optim, self.optimizer, total, checkpoint.iteration)
        for name, value in checkpoint.moving_averages.items():
            pyro.get_param_store()[name] = self.processes.share(value).to(self.device)
        self.iteration = checkpoint.iteration
        if self.processes.is_first:  # which follows it, and may warn
            self.best.restore(checkpoint.best)
        self.collapse.restore(checkpoint.collapse)
        self._totals.restore(checkpoint.sums, checkpoint.num_summed, self.device)
        restore_noise(
            checkpoint.random_states,
            self.device,
            rank=self.processes.rank,
            size=self.processes.size,
            seed=self.config.seed,
            iteration=self.iteration,
        )

    def step(self) -> None:
        """Take one optimiser step on the next batch.

        Raises:
            NonFiniteLossError: a term of the loss is not finite.
            ProcessLostError: another process has ended.
        """
        images = self._batch(self.iteration)  # (its share, x_size, x_size)
        batch = to_unit(images, self.device, self.air.dtype)
        metrics = self.gradients(batch, *self.objective_settings())
        stop = self._interruption.signal is not None
        metrics, self._stopping = self.processes.sum_step(self._parameters, metrics, stop)
        # A GPU's host would have to wait, for a fifth of a step; there it is checked when it is
        # logged.
        if self.device.type == "cpu":
            self._check_finite(metrics)
        self._totals.add(metrics)
        if self.config.optim.clip_norm is not None:
            # Losses are sums over the batch, as Pyro's are; the setting is per image.
            limit = self.config.optim.clip_norm * self.config.train.batch_size
            torch.nn.utils.clip_grad_norm_(self._parameters, limit)
        self.optimizer.step()
        self.scheduler.step()
        self.iteration += 1

    def objective_settings(self) -> list[Tensor]:
        """Return the further arguments of the objective at this iteration, on the device."""
        prior = self.presence_schedule(self.iteration)
        return objective_settings(self.config, prior, self.air, self.iteration)

    def _is_to_stop(self) -> bool:
        """Return what several processes agreed on in the last step, or one knows at once."""
        alone = self.processes.size == 1
        return self._interruption.signal is not None if alone else self._stopping

    def _measure(self, scenes: Scenes) -> Evaluation:
        return evaluate(self.air, scenes, self.presence_schedule(self.iteration))

    def _comparable(self, evaluation: Evaluation) -> float:
        """Return the metric on the few held-out scenes alone, also after an evaluation of all."""
        few = self._few
        if few.count is not None:
            return (evaluation.count[: len(few)] == few.count).double().mean().item()
        return (evaluation if len(evaluation.count) == len(few) else self._measure(few)).metric

    def _log_training(self) -> float:
        """Log what training did since the last time; return the loss per image."""
        self._check_finite(self._totals.sums)
        metrics = self._totals.take(self.config.train.batch_size)
        self.tracker.log(self.iteration, {**metrics, **self._settings()})
        return metrics["train/loss"]

    def _check_finite(self, metrics: dict[str, Tensor]) -> None:
        if math.isfinite(metrics["loss"].item()):
            return
        wrong = [name for name, value in metrics.items() if not value.isfinite()]
        raise self._not_finite(
            f"the loss is {metrics['loss'].item()}; not finite: {', '.join(wrong)}"
        )

    def _not_finite(self, what: str) -> NonFiniteLossError:
        return NonFiniteLossError(
            f"iteration {self.iteration}: {what}; the last good checkpoint in {self.run_dir} is "
            "kept; a lower optim.lr or optim.clip_norm may help"
        )

    def _settings(self) -> dict[str, Value]:
        """Return what the run is doing now: learning rates, the prior, what it has learned."""
        prior = self.presence_schedule(self.iteration)
        rates = [float(rate) for rate in self.scheduler.get_last_lr()]
        names = ("optim/lr", "optim/baseline_lr")
        return {
            **dict(zip(names, rates, strict=False)),
            **{f"prior/p_{t}": float(prior(t)) for t in range(self.air.num_steps)},
            **{
                f"inference/{name}": value
                for name, value in self.config.inference.scheduled(self.iteration).items()
            },
            **{f"train/{name}": v for name, v in self.air.model.likelihood.metrics().items()},
        }
