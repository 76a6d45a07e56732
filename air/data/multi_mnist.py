"""Scenes of several cutouts: multi-MNIST, as in Attend, Infer, Repeat and in Pyro's example, and
the same of other small white pictures on black.

Each cutout is resized by a random factor and lies anywhere on the canvas where it fits. Cutouts add
up; a scene in which a pixel exceeds 255 is drawn again.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from air.data.backgrounds import put_behind
from air.data.config import CUTOUT_SIZE, CutoutConfig
from air.data.cutouts import Cutouts
from air.data.painter import Painted, Painter, tight_boxes


class CutoutPainter(Painter):
    """Paints scenes of cutouts, each equally likely.

    Args:
        cutouts: what scenes are made of.
        config: size of the canvas, number and size of the cutouts, what lies behind them.
    """

    must_be = "without a pixel above 255"
    instead = "raise data.scale_mean"

    def __init__(self, cutouts: Cutouts, config: CutoutConfig) -> None:
        self.cutouts = cutouts
        self.config = config

    def paint(
        self, num_scenes: int, num_objects: int, random: np.random.Generator, with_masks: bool
    ) -> Painted:
        """Paint scenes on black and return those in which no pixel exceeds 255."""
        config, shape = self.config, (num_scenes, num_objects)
        which = random.integers(len(self.cutouts), size=shape)
        scales = config.scale_mean + config.scale_sd * random.standard_normal(shape)
        # A scale near or below 0, from a large sd, means the largest cutout that fits.
        scales = np.maximum(scales, 1e-6)
        sizes = np.clip(CUTOUT_SIZE / scales, 1, config.canvas_size).astype(np.int64)
        last_corners = config.canvas_size - sizes[..., np.newaxis]
        corners = random.integers(0, last_corners + 1, size=(*shape, 2))  # x and y of the top left

        canvases = np.zeros((num_scenes, config.canvas_size, config.canvas_size), np.int32)
        boxes = np.empty((*shape, 4), np.int64)
        masks = np.zeros(canvases.shape, np.uint8) if with_masks else None
        brightest = np.zeros_like(masks) if masks is not None else None
        for size in np.unique(sizes):  # all cutouts of one size at once
            slots, scenes = np.nonzero(np.equal(sizes.T, size))  # (M,) each
            patches = _resize(self.cutouts.images[which[scenes, slots]], int(size))  # (M, s, s)
            x, y = corners[scenes, slots].T
            boxes[scenes, slots] = tight_boxes(patches > 0) + np.stack([x, y, x, y], axis=1)
            windows = sliding_window_view(canvases, (size, size), axis=(1, 2), writeable=True)
            # One cutout of each scene at a time: += does not add twice at the same index.
            for slot in np.unique(slots):
                now = slots == slot
                place = scenes[now], y[now], x[now]
                windows[place] += patches[now]
                if masks is not None and brightest is not None:
                    _mark(masks, brightest, place, patches[now], slot + 1)

        fits = canvases.reshape(num_scenes, -1).max(axis=1) <= 255
        return Painted(
            images=canvases[fits].astype(np.uint8),
            labels=self.cutouts.labels[which[fits]],
            boxes=boxes[fits],
            masks=None if masks is None else masks[fits],
        )

    def finish(
        self,
        images: NDArray[np.uint8],
        masks: NDArray[np.uint8] | None,
        random: np.random.Generator,
    ) -> None:
        """Put backgrounds behind the cutouts, which are the same with every background."""
        if self.config.background != "none":
            put_behind(self.config.background, images, masks, random)

    def material(self) -> Iterator[bytes]:
        """Yield the cutouts."""
        yield len(self.cutouts).to_bytes(8, "little")
        yield self.cutouts.images.tobytes()
        yield self.cutouts.labels.tobytes()


def _mark(
    masks: NDArray[np.uint8],
    brightest: NDArray[np.uint8],
    place: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]],
    patches: NDArray[np.uint8],
    number: int,
) -> None:
    """Give a cutout the pixels where it is brighter than those before it, in both arrays.

    Args:
        masks: (scenes, canvas_size, canvas_size), the number of each pixel's cutout.
        brightest: of the same shape, that cutout's own brightness.
        place: scene, top row and left column of each patch, (M,) each.
        patches: (M, size, size).
        number: of the cutouts in their scenes.
    """
    size = patches.shape[-1]
    mask_windows, bright_windows = (
        sliding_window_view(array, (size, size), axis=(1, 2), writeable=True)
        for array in (masks, brightest)
    )
    before = bright_windows[place]
    mask_windows[place] = np.where(patches > before, number, mask_windows[place])
    bright_windows[place] = np.maximum(patches, before)


def _resize(images: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Resize (M, 28, 28) to (M, size, size), bilinear, averaging where it shrinks."""
    pixels = torch.from_numpy(images)[np.newaxis]  # (1, M, 28, 28)
    resized = F.interpolate(pixels, size=(size, size), mode="bilinear", antialias=True)
    patches: NDArray[np.uint8] = resized[0].numpy()
    return patches
