"""Which settings matter: the effect of each on the metric, the others being equal.

An additive model y = mean + one effect for each setting is fitted to the finished runs by least
squares. In a full grid the effects are the plain means of each value; where runs are missing, they
are corrected for what else differs between the runs that there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from air.comparison.measures import Metric, last_value
from air.comparison.settings import ABSENT, Grouping

_MAX_LEVELS = 8  # of a number that is shown as it is; more of them are put together
_NUM_BINS = 4

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Effect:
    """What one setting does.

    Attributes:
        name: of the setting.
        levels: its values, numbers in order; a range of them where there are many.
        level: (runs,) which of the levels each run has.
        means: (levels,) of the metric, the other settings being equal.
        share: of the variance between all runs that goes with this setting; None if it cannot be
            told apart from the others, because they change together. The means are then plain.
    """

    name: str
    levels: list[str]
    level: NDArray[np.int64]
    means: Floats
    share: float | None

    @property
    def range(self) -> float:
        """Between the best and the worst value."""
        return float(self.means.max() - self.means.min())


@dataclass(frozen=True)
class Effects:
    """What all settings do.

    Attributes:
        effects: the largest share first.
        values: (runs,) the metric of the finished runs.
        seed_share: of the variance, between runs that differ in their seed alone.
        seed_sd: the standard deviation of these; None if no setting has two runs.
    """

    effects: list[Effect]
    values: Floats
    seed_share: float
    seed_sd: float | None


def main_effects(grouping: Grouping, metric: Metric) -> Effects | None:
    """Return what each setting does to the last value of a metric in the finished runs.

    Args:
        grouping: the runs.
        metric: what is asked about.

    Returns:
        None if nothing varies between the finished runs, or the metric is the same in all.
    """
    found = [
        (i, group.cells, value)
        for i, group in enumerate(grouping.groups)
        for run in group.runs
        if run.status == "finished" and (value := last_value(run, metric.name)) is not None
        if np.isfinite(value)
    ]
    y = np.array([value for _, _, value in found])
    if len(y) < 2 or np.ptp(y) == 0:
        return None
    factors = {
        name: (levels, level)
        for name in grouping.columns
        for levels, level in [_levels([cells[name] for _, cells, _ in found])]
        if len(levels) > 1
    }
    if not factors:
        return None
    total = float(((y - y.mean()) ** 2).sum())
    designs = {name: _indicators(level, len(levels)) for name, (levels, level) in factors.items()}
    effects = []
    for name, (levels, level) in factors.items():
        rest = _design([design for other, design in designs.items() if other != name], len(y))
        full = np.hstack((rest, designs[name]))
        means = np.array([y[level == i].mean() for i in range(len(levels))])
        share = None
        if np.linalg.matrix_rank(full) - np.linalg.matrix_rank(rest) == len(levels) - 1:
            coefficients, lost = _fit(full, y)
            share = max(0.0, _fit(rest, y)[1] - lost) / total
            steps = np.concatenate(([0.0], coefficients[rest.shape[1] :]))
            means = (y - steps[level]).mean() + steps
        effects.append(Effect(name, levels, level, means, share))
    group = np.array([i for i, _, _ in found])
    _, member = np.unique(group, return_inverse=True)
    within = float(((y - (np.bincount(member, y) / np.bincount(member))[member]) ** 2).sum())
    freedom = len(y) - len(set(group.tolist()))
    return Effects(
        effects=sorted(effects, key=lambda effect: -(effect.share or 0.0)),
        values=y,
        seed_share=within / total,
        seed_sd=(within / freedom) ** 0.5 if freedom else None,
    )


def _levels(cells: Sequence[str]) -> tuple[list[str], NDArray[np.int64]]:
    """Return the values of a setting in order, and which of them each run has."""
    numbers = [_as_number(cell) for cell in cells]
    known = sorted({number for number in numbers if number is not None})
    if None not in numbers and len(known) > _MAX_LEVELS:
        x = np.array(numbers, dtype=float)
        edges = np.unique(np.quantile(x, np.linspace(0, 1, _NUM_BINS + 1)[1:-1]))
        bins = np.searchsorted(edges, x, side="left")
        names, level = np.unique(bins, return_inverse=True)
        spans = [x[bins == name] for name in names]
        return [f"{span.min():.3g} to {span.max():.3g}" for span in spans], level.astype(np.int64)
    order = {cell: number for cell, number in zip(cells, numbers, strict=True)}
    levels = sorted(
        order, key=lambda cell: (cell == ABSENT, order[cell] is None, order[cell] or 0.0)
    )
    return levels, np.array([levels.index(cell) for cell in cells], dtype=np.int64)


def _as_number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _indicators(level: NDArray[np.int64], num_levels: int) -> Floats:
    """Return (runs, levels - 1) ones where a run has a level; the first level has none."""
    return (level[:, None] == np.arange(1, num_levels)).astype(np.float64)


def _design(parts: Sequence[Floats], num_runs: int) -> Floats:
    return np.hstack([np.ones((num_runs, 1)), *parts])


def _fit(design: Floats, y: Floats) -> tuple[Floats, float]:
    """Return the coefficients of least squares, and the squares that are left."""
    coefficients: Floats = np.linalg.lstsq(design, y, rcond=None)[0].astype(np.float64)
    return coefficients, float(((y - design @ coefficients) ** 2).sum())
