"""Counts that collapse: whatever an image holds, it is given the same number of objects.

Training has several local optima of this kind, and no metric but the counts themselves tells them
from a model that is still learning.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from air.config.schema import Config
from air.tracking.tracker import Tracker

log = logging.getLogger(__name__)

# The share of images that counts as nearly all of them. The best models are wrong about 0.4 % of
# images and the quickstart about 1 %, so a model that tells numbers apart at all gives the rarer
# ones to more than 2 % of images; a collapsed one differs only in odd images.
NEARLY_ALL = 0.98

_TITLE = "The counts have collapsed"  # W&B allows 63 characters


def collapsed_to(count: Tensor, true_count: Tensor | None, num_steps: int) -> int | None:
    """Return the number to which inferred counts have collapsed, or None if they have not.

    They have if nearly all images are given one number, or nearly every image in which anything is
    found is given `num_steps`: each object is then split among all windows. It is no collapse where
    the truth is like that, or where other numbers are told from this one.

    Args:
        count: inferred number of objects in each image, (N,) int64.
        true_count: (N,) int64, or None if it is not known.
        num_steps: the largest number that can be inferred; one that is 1 cannot collapse.
    """
    if num_steps < 2:
        return None
    true = None if true_count is None else true_count.clamp(max=num_steps)
    if true is not None and _common(true) is not None:
        return None
    number, which = _common(count), count >= 0
    if number is None:
        number, which = num_steps, count > 0
    others = which if true is None else which & (true != number)
    as_well = _nearly_all(count[which] == number) and _nearly_all(count[others] == number)
    return number if as_well else None


def _common(count: Tensor) -> int | None:
    """Return the number that nearly all images have, or None."""
    if not len(count):
        return None
    number = int(count.mode().values)
    return number if _nearly_all(count == number) else None


def _nearly_all(which: Tensor) -> bool:
    """Return whether nearly all of some images, of which there is at least one, are so."""
    return len(which) > 0 and which.double().mean().item() >= NEARLY_ALL


@dataclass(frozen=True)
class _Streak:
    """Evaluations in a row that show a collapse."""

    number: int  # at the last
    first: int  # iteration
    last: int
    is_certain: bool  # the true counts are known
    is_steady: bool  # the number was the same at all of them


class CollapseWatch:
    """Follows the evaluations of a run; warns once if its counts collapse, and knows how it ended.

    One evaluation may come while the model learns, so two in a row make a collapse. They count once
    the presence prior is no longer annealed: until then it may well allow one number alone.

    Args:
        config: the run; `train.warn_collapse` says whether to watch at all.
        tracker: which is alerted.
    """

    def __init__(self, config: Config, tracker: Tracker) -> None:
        self._config = config
        self._tracker = tracker
        self._streak: _Streak | None = None
        self._warned = False

    @property
    def collapsed(self) -> str | None:
        """What has collapsed, if the last evaluations show it."""
        streak = self._streak
        if streak is None or streak.first == streak.last:
            return None
        which, most = "nearly every held-out image", ""
        if streak.number == self._config.model.num_steps:
            which, most = f"{which} in which anything is found", " (the most it can be)"
        doubt = "" if streak.is_certain else ", unless that is what the images hold"
        often = "at every evaluation"
        if not streak.is_steady:
            often = "at the last, and nearly all were counted alike at every evaluation,"
        return (
            f"{which} is counted {streak.number}{most} {often} from iteration {streak.first} to "
            f"{streak.last}{doubt}"
        )

    def see(self, iteration: int, count: Tensor, true_count: Tensor | None) -> None:
        """Record an evaluation, and warn if it makes a collapse.

        Args:
            iteration: optimiser steps taken.
            count: inferred number of objects in each held-out image, (N,) int64.
            true_count: (N,) int64, or None if it is not known.
        """
        before, self._streak = self._streak, None
        if not self._config.train.warn_collapse or iteration < self._config.prior.settles_at:
            return
        number = collapsed_to(count, true_count, self._config.model.num_steps)
        if number is None:
            return
        self._streak = _Streak(
            number,
            first=before.first if before else iteration,
            last=iteration,
            is_certain=true_count is not None,
            is_steady=before is None or (before.is_steady and before.number == number),
        )
        if self.collapsed is None or self._warned:
            return
        self._warned = True
        text = f"{self.collapsed}; {_advice(number, self._config)}"
        log.warning("the counts have collapsed: %s", text)
        self._tracker.alert(_TITLE, text)

    def note(self) -> dict[str, Any]:
        """Return what a checkpoint must hold for `restore`."""
        return {"streak": self._streak and asdict(self._streak), "warned": self._warned}

    def restore(self, noted: dict[str, Any]) -> None:
        """Go back to what was known at a checkpoint."""
        self._streak = _Streak(**noted["streak"]) if noted["streak"] else None
        self._warned = noted["warned"]


def _advice(number: int, config: Config) -> str:
    """Return what to try against counts that have collapsed to a number."""
    final = config.prior.final_key
    inverted = "images inverted if their background is light"
    sizes = (
        "model.scale_prior_mean=auto, or such that a window, image size / mean, holds one object"
    )
    if number == 0:
        tries = [
            inverted,
            "more contrast if their objects are dim",
            "a lower optim.lr",
            f"a higher prior.{final}",
        ]
    elif number == config.model.num_steps:
        tries = [inverted, "a lower prior.success (fewer objects at first)", sizes]
    else:
        tries = [sizes, f"a higher prior.{final}"]
        tries += config.inference.advice
    return f"what to try: {'; '.join(tries)}"
