"""Scenes drawn with their truth: what all of them share, whatever their objects are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from air.data.config import SceneConfig
from air.data.painter import Painter
from air.data.scenes import Data, Scenes
from air.errors import DataError

OBJECTS_PER_BATCH = 8192  # drawn at once
PIXELS_PER_BATCH = 20_000_000  # of canvases drawn at once: 80 MB of int32
MIN_ACCEPTANCE = 1 / 200  # of the scenes drawn; fewer would take minutes
MIN_DRAWN = 50_000  # objects, before the acceptance is judged


def draw_data(train: Painter, test: Painter, config: SceneConfig) -> Data:
    """Draw training scenes and test scenes.

    Args:
        train: paints training scenes.
        test: paints test scenes.
        config: size of the canvas, numbers of objects and of scenes.

    Returns:
        Both sets, from different random streams of the seed; the size of one does not change
        the other.

    Raises:
        DataError: the objects hardly ever fit the canvas.
    """
    train_seed, test_seed = np.random.SeedSequence(config.seed).spawn(2)
    return Data(
        train=draw_scenes(train, config, config.num_train, train_seed),
        test=draw_scenes(test, config, config.num_test, test_seed, with_masks=True),
    )


def draw_scenes(
    painter: Painter,
    config: SceneConfig,
    num_scenes: int,
    seed: np.random.SeedSequence | int | Sequence[int],
    with_masks: bool = False,
) -> Scenes:
    """Draw scenes with their truth. The same arguments give the same scenes.

    The number of objects is drawn first; a scene that is not as it must be is drawn again with the
    same number, so that the numbers stay as often as they should be.

    Args:
        painter: of the scenes.
        config: as the painter's: size of the canvas, numbers of objects.
        num_scenes: N.
        seed: where the random stream starts.
        with_masks: whether to tell each pixel's object too; training has no use for that.

    Returns:
        N scenes of uint8 images, with count, labels, boxes and perhaps masks.

    Raises:
        DataError: the objects hardly ever fit the canvas.
    """
    random = np.random.default_rng(seed)
    size, max_objects = config.canvas_size, config.max_objects
    images = np.zeros((num_scenes, *config.image_shape), np.uint8)
    labels = np.full((num_scenes, max_objects), -1, np.int64)
    boxes = np.full((num_scenes, max_objects, 4), np.nan, np.float32)
    masks = np.zeros((num_scenes, size, size), np.uint8) if with_masks else None
    counts, weights = map(np.array, zip(*config.weighted_counts(), strict=True))
    if config.count_weights is None:
        count = counts[random.integers(len(counts), size=num_scenes)]
    else:
        count = random.choice(counts, num_scenes, p=weights / weights.sum())

    # The fullest scenes come first, so that impossible settings fail at once.
    for num_objects in range(max_objects, -1, -1):
        rows = np.flatnonzero(count == num_objects)
        most = min(OBJECTS_PER_BATCH // max(num_objects, 1), PIXELS_PER_BATCH // size**2) or 1
        filled = drawn = 0
        while filled < len(rows):
            # More than are missing, and ever more, so that few rounds suffice.
            batch_size = min(2 * (len(rows) - filled) + drawn, most)
            painted = painter.paint(batch_size, num_objects, random, with_masks)
            into = rows[filled : filled + len(painted.images)]
            images[into] = painted.images[: len(into)]
            labels[into, :num_objects] = painted.labels[: len(into)]
            boxes[into, :num_objects] = painted.boxes[: len(into)]
            if masks is not None and painted.masks is not None:
                masks[into] = painted.masks[: len(into)]
            filled += len(into)
            drawn += batch_size
            hopeless = drawn * num_objects >= MIN_DRAWN and filled < drawn * MIN_ACCEPTANCE
            if hopeless and filled < len(rows):
                raise DataError(
                    f"data.max_objects={max_objects} is too many for data.canvas_size={size}: "
                    f"{num_objects} objects fitted {painter.must_be} in {filled} of {drawn} "
                    f"scenes; lower data.max_objects, raise data.canvas_size, or {painter.instead}"
                )
    painter.finish(images, masks, random)
    arrays = (
        (images, count, labels, boxes) if masks is None else (images, count, labels, boxes, masks)
    )
    return Scenes(*map(torch.from_numpy, arrays))
