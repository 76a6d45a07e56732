"""What a run's metrics come to: the last and the best value, and the time it took."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from air.comparison.reading import Run
from air.errors import ConfigError

COUNT_ACCURACY, ELBO = "val/count_accuracy", "val/elbo"

Goal = Literal["max", "min"]


@dataclass(frozen=True)
class Metric:
    """What runs are compared by.

    Attributes:
        name: in `metrics.jsonl`.
        goal: whether more is better, or less.
    """

    name: str
    goal: Goal

    def better(self, value: float | None) -> float:
        """Return a number that is larger for a better value, and smallest for none."""
        if value is None or math.isnan(value):
            return -math.inf
        return value if self.goal == "max" else -value


@dataclass(frozen=True)
class Spread:
    """Values over seeds.

    Attributes:
        mean: None if there are no values.
        sd: the standard deviation of a sample; None if there are fewer than two.
    """

    mean: float | None
    sd: float | None


def choose_metric(runs: Sequence[Run], name: str | None, goal: Goal | None) -> Metric:
    """Return what to compare by.

    Args:
        runs: whose metrics there are.
        name: what is asked for; None for the count accuracy or, where no run has it, the ELBO.
        goal: what is asked for; None for less of a loss or of a KL divergence, more of all else.

    Raises:
        ConfigError: no run has the metric.
    """
    if name is None:
        known = {key for run in runs for line in run.metrics for key in line}
        name = ELBO if ELBO in known and COUNT_ACCURACY not in known else COUNT_ACCURACY
    else:
        check_metric(runs, "metric", name)
    part = name.rpartition("/")[2]
    less = part in ("loss", "sleep") or part.startswith("kl_")
    return Metric(name, goal or ("min" if less else "max"))


def check_metric(runs: Sequence[Run], key: str, name: str) -> None:
    """Raise `ConfigError` if there are metrics, but none of this name."""
    known = {
        key
        for run in runs
        for line in run.metrics
        for key, value in line.items()
        if not isinstance(value, list) and key not in ("iteration", "time")
    }
    if known and name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f" did you mean {close[0]}?" if close else ""
        raise ConfigError(
            f"{key}: must be a metric of the runs, got {name};{hint} "
            f"there are: {', '.join(sorted(known))}"
        )


def curve(run: Run, name: str) -> list[tuple[int, float]]:
    """Return a metric over the iterations; what was not finite is nan."""
    return [
        (line["iteration"], math.nan if line[name] is None else float(line[name]))
        for line in run.metrics
        if name in line
    ]


def last_value(run: Run, name: str) -> float | None:
    """Return the last value of a metric, or None if there is none yet."""
    points = curve(run, name)
    return points[-1][1] if points else None


def best_value(run: Run, metric: Metric) -> float | None:
    """Return the best value of a metric of all that were logged, or None if there is none."""
    values = [value for _, value in curve(run, metric.name) if math.isfinite(value)]
    return max(values, key=metric.better, default=None)


def training_seconds(run: Run) -> float | None:
    """Return how long all training steps took, without evaluations and pauses, or None."""
    return max(training_times(run).values(), default=None)


def training_times(run: Run) -> dict[int, float]:
    """Return how many seconds of training it took to each iteration at which that was logged."""
    times: dict[int, float] = {}
    total, before = 0.0, 0
    for line in run.metrics:
        speed = line.get("time/steps_per_second")
        if speed:
            total += (line["iteration"] - before) / speed
            before = line["iteration"]
            times[before] = total
    return times


def spread(values: Sequence[float | None]) -> Spread:
    """Return mean and standard deviation over seeds, without those that have no value."""
    known = [value for value in values if value is not None]
    if not known:
        return Spread(None, None)
    mean = math.fsum(known) / len(known)
    if len(known) < 2:
        return Spread(mean, None)
    squares = math.fsum((value - mean) ** 2 for value in known)
    return Spread(mean, math.sqrt(squares / (len(known) - 1)))
