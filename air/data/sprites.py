"""Sprites: plain shapes with smooth edges that cover one another, the later ones in front.

Each shape lies in a circle of a random size, turned by a random angle, anywhere on the canvas where
the circle fits. Its colour stands out from the background and from what it covers. A scene in which
a shape is hidden too far is drawn again, as is one in which a shape covers another of its colour.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import get_args

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from air.data.config import SpriteKind, SpritesConfig
from air.data.painter import Painted, Painter, tight_boxes

_Array = NDArray[np.float32]

LABELS = get_args(SpriteKind)  # a label is the place of its kind among all of them
MIN_CONTRAST = 64  # grey levels of 256 between two colours, on average over the channels
_BACKGROUNDS = {"black": 0, "white": 255}


class SpritePainter(Painter):
    """Paints scenes of shapes.

    Boxes and masks count the pixels that a shape covers by half or more: boxes those of the whole
    shape, hidden or not, and masks those that can be seen.

    Args:
        config: size of the canvas, number, kinds, sizes and colours of shapes.
    """

    must_be = "with data.min_visible of each visible"
    instead = "lower data.max_size or data.min_visible"

    def __init__(self, config: SpritesConfig) -> None:
        self.config = config

    def paint(
        self, num_scenes: int, num_objects: int, random: np.random.Generator, with_masks: bool
    ) -> Painted:
        """Paint scenes and return those in which all shapes can be seen well enough."""
        config, shape = self.config, (num_scenes, num_objects)
        size, channels = config.canvas_size, config.num_channels
        labels = random.choice([LABELS.index(kind) for kind in config.kinds], shape)
        radii = random.uniform(config.min_size, config.max_size, shape) / 2
        angles = random.uniform(0, 2 * np.pi, shape)
        centres = random.uniform(radii[..., np.newaxis], size - radii[..., np.newaxis], (*shape, 2))
        # In slot 0 the background, which has the number 0 in masks.
        colours = np.empty((num_scenes, num_objects + 1, channels), np.uint8)
        colours[:, 0] = _BACKGROUNDS.get(
            config.background, random.integers(256, size=(num_scenes, channels))
        )
        colours[:, 1:] = _away_from(colours[:, :1], (*shape, channels), random)

        scenes = np.arange(num_scenes)
        images = np.empty((num_scenes, size, size, channels), np.uint8)
        images[:] = colours[:, 0, np.newaxis, np.newaxis]
        masks = np.zeros((num_scenes, size, size), np.uint8)
        boxes = np.empty((*shape, 4), np.int64)
        areas = np.empty(shape, np.int64)
        clear = np.ones(num_scenes, np.bool_)
        width = min(size, math.ceil(config.max_size) + 2)  # of windows that hold a shape
        image_windows = sliding_window_view(images, (width, width), axis=(1, 2), writeable=True)
        mask_windows = sliding_window_view(masks, (width, width), axis=(1, 2), writeable=True)
        corners = np.rint(centres - width / 2).astype(np.int64).clip(0, size - width)  # x, y
        for slot in range(num_objects):
            x, y = corners[:, slot].T
            off = (centres[:, slot] - corners[:, slot]).astype(np.float32)
            cover = _covers(labels[:, slot], off, radii[:, slot], angles[:, slot], width)
            inside = cover >= 0.5  # (M, width, width)
            place = (scenes, y, x)
            before = mask_windows[place]
            alike = _alike(colours, colours[:, slot + 1, np.newaxis])  # (M, num_objects + 1)
            clear &= ~(alike[scenes[:, np.newaxis, np.newaxis], before] & inside).any((1, 2))
            mask_windows[place] = np.where(inside, slot + 1, before)
            behind = image_windows[place].astype(np.float32)  # (M, channels, width, width)
            own = colours[:, slot + 1, :, np.newaxis, np.newaxis]
            image_windows[place] = np.rint(behind + cover[:, np.newaxis] * (own - behind))
            boxes[:, slot] = tight_boxes(inside) + np.stack([x, y, x, y], axis=1)
            areas[:, slot] = inside.sum((1, 2))
        for slot in range(num_objects):
            seen = (masks == slot + 1).sum((1, 2))
            clear &= seen >= config.min_visible * areas[:, slot]
        return Painted(
            images=images[clear].reshape(-1, *config.image_shape),
            labels=labels[clear],
            boxes=boxes[clear],
            masks=masks[clear] if with_masks else None,
        )


def _alike(colours: NDArray[np.uint8], others: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return which colours (..., channels) are hard to tell from others that broadcast to them."""
    distance = np.abs(colours.astype(np.int16) - others).mean(-1)
    hard: NDArray[np.bool_] = distance < MIN_CONTRAST
    return hard


def _away_from(
    backgrounds: NDArray[np.uint8], shape: tuple[int, ...], random: np.random.Generator
) -> NDArray[np.uint8]:
    """Draw colours uniformly from those that stand out from backgrounds."""
    colours = random.integers(256, size=shape, dtype=np.uint8)
    while (again := _alike(colours, backgrounds)).any():
        colours[again] = random.integers(256, size=(again.sum(), shape[-1]), dtype=np.uint8)
    return colours


def _covers(
    labels: NDArray[np.int64],
    centres: _Array,
    radii: NDArray[np.float64],
    angles: NDArray[np.float64],
    width: int,
) -> _Array:
    """Return how much of each pixel a shape covers, (M, width, width) in [0, 1].

    Args:
        labels: which kind of shape, (M,).
        centres: x and y in a window, in pixels from its top left edge, (M, 2).
        radii: of the circle around the shape, in pixels, (M,).
        angles: by which it is turned, (M,).
        width: of a window.
    """
    pixels = np.arange(width, dtype=np.float32) + 0.5
    x, y = np.moveaxis(pixels - centres[..., np.newaxis], 1, 0)  # (M, width) each
    cos, sin, r = (
        values.astype(np.float32)[:, np.newaxis, np.newaxis]
        for values in (np.cos(angles), np.sin(angles), radii)
    )
    x, y = x[:, np.newaxis, :], y[:, :, np.newaxis]
    u, v = cos * x + sin * y, cos * y - sin * x  # (M, width, width)
    distance = np.empty_like(u)
    for label in np.unique(labels):
        own = labels == label
        distance[own] = _DISTANCES[LABELS[label]](u[own], v[own], r[own])
    # An edge cuts a pixel in two; where it passes through the middle, it covers half.
    return (0.5 - distance).clip(0, 1)


# How far points (u, v) are from the edge of a shape in a circle of radius r, in pixels, negative
# inside. A corner is as far as the farther one of its lines.


def _disc(u: _Array, v: _Array, r: _Array) -> _Array:
    return np.hypot(u, v) - r


def _rectangle(u: _Array, v: _Array, half_width: _Array, half_height: _Array) -> _Array:
    return np.maximum(np.abs(u) - half_width, np.abs(v) - half_height)


def _square(u: _Array, v: _Array, r: _Array) -> _Array:
    half = np.float32(math.sqrt(0.5)) * r
    return _rectangle(u, v, half, half)


def _triangle(u: _Array, v: _Array, r: _Array) -> _Array:
    """Equal sides, the tip at v = r."""
    return np.maximum(-v, v / 2 + np.float32(math.sqrt(0.75)) * np.abs(u)) - r / 2


def _bar(u: _Array, v: _Array, r: _Array) -> _Array:
    return _rectangle(u, v, 0.94 * r, 0.34 * r)


def _ring(u: _Array, v: _Array, r: _Array) -> _Array:
    return np.abs(np.hypot(u, v) - 0.75 * r) - 0.25 * r


def _cross(u: _Array, v: _Array, r: _Array) -> _Array:
    return np.minimum(_rectangle(u, v, 0.95 * r, 0.3 * r), _rectangle(u, v, 0.3 * r, 0.95 * r))


_DISTANCES: dict[str, Callable[[_Array, _Array, _Array], _Array]] = {
    "disc": _disc,
    "square": _square,
    "triangle": _triangle,
    "bar": _bar,
    "ring": _ring,
    "cross": _cross,
}
