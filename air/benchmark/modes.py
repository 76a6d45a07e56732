"""The step of every preset in every way of running it: eager, recorded, as a CUDA graph."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from air.acceleration.recording import CudaGraphGradients, RecordedGradients
from air.benchmark.timing import interleaved
from air.benchmark.workloads import example_trainer, in_own_store, reference_step
from air.cli.compose import compose_config
from air.config.schema import Config
from air.data.config import SceneConfig
from air.errors import AIRError
from air.training.gradients import EagerGradients, Gradients
from air.training.trainer import Trainer

log = logging.getLogger(__name__)

# The overrides of each, of the quickstart's configuration.
PRESETS: dict[str, tuple[str, ...]] = {
    "quickstart": (),
    "quickstart, reinforce": ("inference=reinforce", "baseline=neural"),
    **{
        f"quickstart, {name}": (f"inference={name}",)
        for name in ("mvd", "rebar", "relaxed", "iwae", "dreg", "vimco", "rws")
    },
    "quickstart, recurrent attention": ("attention=recurrent",),
    "quickstart, difference attention": ("attention=difference",),
    "quickstart, without dreams": ("sleep=none",),
    "accurate": ("experiment=accurate",),
    "five": ("experiment=five",),
    "noisy": ("experiment=noisy",),
    "grid": ("experiment=grid",),
    "sprites": ("experiment=sprites",),
    "paper": ("experiment=paper",),
    "pyro_tutorial": ("experiment=pyro_tutorial",),
}
_OF_THE_REFERENCE = "pyro_tutorial"


@dataclass(frozen=True)
class ModeRow:
    """A whole step (batch, gradient, optimiser, schedule) in each way of running it.

    Attributes:
        step: its preset.
        batch: images.
        eager, recorded, graph: milliseconds, the median; None: there is none on this device, or it
            cannot be recorded.
        graph_tf32: likewise, with products of matrices in TF32; those of convolutions are in TF32
            anyway, as PyTorch has it.
        images_per_second: in the fastest way.
        reference: milliseconds of Pyro's own example, with the same networks; None without.
    """

    step: str
    batch: int
    eager: float
    recorded: float | None
    graph: float | None
    graph_tf32: float | None
    images_per_second: float
    reference: float | None


def measure_modes(
    rounds: int,
    checkout: Path | None,
    overrides: Sequence[str] = (),
    presets: Mapping[str, Sequence[str]] = PRESETS,
) -> Iterator[ModeRow]:
    """Time the step of every preset in every way that the device has, the ways taking turns.

    Args:
        rounds: how often each is timed.
        checkout: of Pyro's repository, or None to leave its example out.
        overrides: of every preset.
        presets: overrides by name.
    """
    for name, changed in presets.items():
        try:
            config = compose_config((*changed, *overrides, "tracking=none"))
            compared = checkout if name == _OF_THE_REFERENCE else None
            yield _measure(name, config, rounds, compared)
        except (AIRError, torch.cuda.OutOfMemoryError) as error:
            log.warning("%s: left out, %s", name, error)


def _measure(name: str, config: Config, rounds: int, checkout: Path | None) -> ModeRow:
    assert isinstance(config.data, SceneConfig)
    trainer = example_trainer(config)
    ways = {
        way: in_own_store(_step(trainer, gradients), validation=False)
        for way, gradients in _ways(trainer, config).items()
    }
    if checkout is not None:
        ways["reference"] = reference_step(checkout, config)
    milliseconds = {way: 1e3 * timing.median for way, timing in interleaved(ways, rounds).items()}
    reference = milliseconds.pop("reference", None)
    return ModeRow(
        step=name,
        batch=config.train.batch_size,
        eager=milliseconds["eager"],
        recorded=milliseconds.get("recorded"),
        graph=milliseconds.get("graph"),
        graph_tf32=milliseconds.get("graph_tf32"),
        images_per_second=1e3 * config.train.batch_size / min(milliseconds.values()),
        reference=reference,
    )


def _ways(trainer: Trainer, config: Config) -> dict[str, Gradients]:
    """Return every way of computing the gradient; those that are recorded share the recording."""
    air, objective = trainer.air, trainer.objective
    ways: dict[str, Gradients] = {"eager": EagerGradients(objective, air)}
    if not config.inference.baseline.recordable:
        return ways
    recorded = RecordedGradients(objective, air, trainer.data.test.images)
    ways["recorded"] = recorded
    if trainer.device.type == "cuda":
        ways["graph"] = CudaGraphGradients(recorded)
        ways["graph_tf32"] = _in_tf32(CudaGraphGradients(recorded))
    return ways


def _step(trainer: Trainer, gradients: Gradients) -> Callable[[], None]:
    def step() -> None:
        trainer.gradients = gradients
        trainer.step()

    return step


def _in_tf32(gradients: Gradients) -> Gradients:
    def rounded(*given: torch.Tensor) -> dict[str, torch.Tensor]:
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("high")
        try:
            return gradients(*given)
        finally:
            torch.set_float32_matmul_precision(before)

    return rounded
