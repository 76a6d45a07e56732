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
    """

    image: NDArray[np.uint8]
    caption: str | None = None
    boxes: tuple[Box, ...] = ()


Value = float | int | ConfusionMatrix | Sequence[Picture]
