"""What can be logged besides numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ConfusionMatrix:
    """How many images of each true count were given each inferred count.

    Attributes:
        counts: (largest true count + 1, largest inferred count + 1), true counts in rows.
    """

    counts: NDArray[np.int64]


@dataclass(frozen=True)
class Histogram:
    """How many images have each number of objects.

    Attributes:
        counts: (largest number + 1,), images with 0, 1, … objects.
    """

    counts: NDArray[np.int64]

    @property
    def edges(self) -> NDArray[np.float64]:
        """Where the bars begin and end, so that each is around its number: (bars + 1,)."""
        return np.arange(len(self.counts) + 1, dtype=np.float64) - 0.5


@dataclass(frozen=True)
class Box:
    """A window in a picture: its edges in pixels, and the step that it belongs to."""

    x0: float
    y0: float
    x1: float
    y1: float
    step: int


@dataclass(frozen=True)
class Picture:
    """An image with windows over it.

    Attributes:
        image: (H, W) grey or (H, W, 3) RGB.
        caption: a line below it, or None.
        boxes: windows, in the image's pixels.
        num_steps: steps that the model had, also where it found less.
        segmentation: (H, W), t + 1 where the t-th step's object is seen and 0 elsewhere, or None.
    """

    image: NDArray[np.uint8]
    caption: str | None = None
    boxes: tuple[Box, ...] = ()
    num_steps: int = 0
    segmentation: NDArray[np.uint8] | None = None


Value = float | int | ConfusionMatrix | Histogram | Sequence[Picture]
