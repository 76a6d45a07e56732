"""What can be logged besides numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ConfusionMatrix:
    """How many images of each true count (rows) were given each inferred count (columns)."""

    counts: NDArray[np.int64]


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
        image: (H, W) grey or (H, W, 3) RGB, uint8.
        caption: a line below it, or None.
        boxes: windows, in the image's pixels.
    """

    image: NDArray[Any]
    caption: str | None = None
    boxes: tuple[Box, ...] = ()


Value = float | int | ConfusionMatrix | Sequence[Picture]
