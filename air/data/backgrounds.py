"""What can lie behind cutouts: SuPAIR's noise and grid (Stelzner et al., 2019), and slopes of grey.

A cutout shows where it is brighter than its background, which shows elsewhere. Noise lies on both,
as that of a camera does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from air.data.config import CutoutBackground

_Array = NDArray[np.float32]

_PIXELS_AT_ONCE = 4_000_000
_LEVEL = 0.2  # grey under noise; 1 is white
_PITCH = 6  # pixels between the lines of a grid
_LINES = 0.4  # grey of them, on black
_MIDDLE = 0.3  # grey of a slope, at the middle of the canvas
_STEEPEST = 0.25  # change from edge to edge, along x and along y


class _Kind(NamedTuple):
    """A kind of background.

    Attributes:
        draw: number, size, random stream -> backgrounds in [0, 1], which broadcast to
            (number, size, size).
        noise: standard deviation of what is added to each pixel.
    """

    draw: Callable[[int, int, np.random.Generator], _Array]
    noise: float


def put_behind(
    background: CutoutBackground,
    images: NDArray[np.uint8],
    masks: NDArray[np.uint8] | None,
    random: np.random.Generator,
) -> None:
    """Put a background behind each scene, and take the pixels that show it from their objects.

    Args:
        background: which kind but `none`.
        images: (N, S, S), cutouts on black; changed in place.
        masks: of the same shape, the object of each pixel, or None; changed in place.
        random: the stream to draw from.
    """
    num, size = images.shape[:2]
    kind = _KINDS[background]
    step = max(1, _PIXELS_AT_ONCE // size**2)
    for start in range(0, num, step):
        part = slice(start, start + step)
        above = images[part] / np.float32(255)
        behind = kind.draw(len(above), size, random)
        pixels = np.maximum(above, behind)
        pixels += np.float32(kind.noise) * random.standard_normal(pixels.shape, np.float32)
        images[part] = np.rint(255 * pixels.clip(0, 1))
        if masks is not None:
            masks[part] *= above >= behind


def _plain(num: int, size: int, random: np.random.Generator) -> _Array:
    return np.full((1, 1, 1), _LEVEL, np.float32)


def _grid(num: int, size: int, random: np.random.Generator) -> _Array:
    """Draw lines along x and along y, shifted at random."""
    shifts = random.integers(_PITCH, size=(2, num, 1))
    columns, rows = (np.arange(size) + shifts) % _PITCH == 0  # (num, size) each
    lines = rows[:, :, np.newaxis] | columns[:, np.newaxis, :]
    return lines * np.float32(_LINES)


def _slope(num: int, size: int, random: np.random.Generator) -> _Array:
    """Draw grey that rises along x and along y, each by a random part of the steepest."""
    along = (np.arange(size, dtype=np.float32) + 0.5) / size - 0.5
    x, y = random.uniform(-_STEEPEST, _STEEPEST, (2, num, 1)).astype(np.float32) * along
    return np.float32(_MIDDLE) + y[:, :, np.newaxis] + x[:, np.newaxis, :]


_KINDS = {"noise": _Kind(_plain, 0.15), "grid": _Kind(_grid, 0.0), "slope": _Kind(_slope, 0.1)}
