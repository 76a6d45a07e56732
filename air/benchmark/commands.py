"""What a user waits for: the start of a run, and inference in many images."""

from __future__ import annotations

import copy
import functools
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import pyro

from air.benchmark.timing import interleaved
from air.benchmark.workloads import example_data
from air.config.schema import Config
from air.data.config import SceneConfig
from air.errors import AIRError
from air.training.run import choose_device

TRAIN = Path(__file__).parents[2] / "scripts" / "train.py"
METRICS = "metrics.jsonl"
_LONGEST_START = 300  # seconds


@dataclass(frozen=True)
class StartRow:
    """Starts of one kind of run.

    Attributes:
        tracking: where its metrics go.
        seconds: from the command to its first logged optimiser step, the median.
        slowest: seconds.
    """

    tracking: str
    seconds: float
    slowest: float


@dataclass(frozen=True)
class InferenceRow:
    """Counting, finding and describing the objects of many images.

    Attributes:
        precision: that of the model.
        images: how many.
        seconds: the median.
        images_per_second: from the median.
    """

    precision: str
    images: int
    seconds: float
    images_per_second: float


def measure_start(rounds: int, overrides: Sequence[str]) -> list[StartRow]:
    """Start `scripts/train.py` as a user does and wait for its first step.

    Args:
        rounds: how often for each kind of tracking.
        overrides: of the configuration; the data should be cached.

    Raises:
        AIRError: a run ended before its first step.
    """
    rows = []
    for tracking in ("tracking=none", "tracking.mode=offline"):
        seconds = [_start((*overrides, tracking)) for _ in range(rounds)]
        rows.append(StartRow(tracking, median(seconds), max(seconds)))
    return rows


def _start(overrides: Sequence[str]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(sys.executable, str(TRAIN), *overrides, f"hydra.run.dir={folder}/run"),
            *("train.num_iterations=1000000", "train.log_every=1"),
        ]
        started = time.perf_counter()
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
        ) as process:
            try:
                metrics = Path(folder, "run", METRICS)
                while not (metrics.is_file() and metrics.stat().st_size):
                    seconds = time.perf_counter() - started
                    if process.poll() is not None or seconds > _LONGEST_START:
                        process.kill()
                        assert process.stdout is not None
                        printed = process.stdout.read().decode().strip().splitlines()
                        raise AIRError(
                            f"{' '.join(command)}: {printed[-1] if printed else 'no step'}"
                        )
                    time.sleep(0.01)
                return time.perf_counter() - started
            finally:
                process.kill()


def measure_inference(config: Config, rounds: int, num_images: int = 10_000) -> list[InferenceRow]:
    """Time `AIR.infer`, on a GPU in half precision too; new weights take as long as trained."""
    assert isinstance(config.data, SceneConfig)
    with pyro.validation_enabled(False):
        data = example_data(config.data, num_images)
        model = config.fitted_to(data.train).build_model(data.test.x_size, data.test.num_channels)
        air = model.to(choose_device(config))
        images = data.test.images.to(air.device)
        models = {"float32": air}
        if air.device.type == "cuda":  # a CPU is slower in it
            models["bfloat16"] = copy.deepcopy(air).bfloat16()
        infers = {name: functools.partial(each.infer, images) for name, each in models.items()}
        times = interleaved(infers, rounds, warmup=1)
    return [
        InferenceRow(name, num_images, timing.median, num_images / timing.median)
        for name, timing in times.items()
    ]
