"""Multi-MNIST: scenes of several digits, as in Attend, Infer, Repeat and in Pyro's example.

A scene holds a uniformly drawn number of digits. Each digit is resized by a random factor and lies
anywhere on the canvas where it fits. Digits add up; a scene in which a pixel exceeds 255 is drawn
again, with the same number of digits, so that the numbers stay uniform.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from air.data.config import DIGIT_SIZE, SceneConfig
from air.data.digits import Digits
from air.data.scenes import Data, Scenes
from air.errors import DataError

DIGITS_PER_BATCH = 8192  # drawn at once
PIXELS_PER_BATCH = 20_000_000  # of canvases drawn at once: 80 MB of int32
MIN_ACCEPTANCE = 1 / 200  # of the scenes drawn; fewer would take minutes
MIN_DRAWN = 50_000  # digits, before the acceptance is judged


def draw_data(train_digits: Digits, test_digits: Digits, config: SceneConfig) -> Data:
    """Draw training scenes from training digits and test scenes from test digits.

    Args:
        train_digits: what training scenes are made of.
        test_digits: what test scenes are made of.
        config: how many scenes, and how they are drawn.

    Returns:
        Both sets, from different random streams of `config.seed`; the size of one does not change
        the other.

    Raises:
        DataError: the digits hardly ever fit the canvas.
    """
    train_seed, test_seed = np.random.SeedSequence(config.seed).spawn(2)
    return Data(
        train=draw_scenes(train_digits, config, config.num_train, train_seed),
        test=draw_scenes(test_digits, config, config.num_test, test_seed, with_masks=True),
    )


def draw_scenes(
    digits: Digits,
    config: SceneConfig,
    num_scenes: int,
    seed: np.random.SeedSequence | int | Sequence[int],
    with_masks: bool = False,
) -> Scenes:
    """Draw scenes with their truth. The same arguments give the same scenes.

    Args:
        digits: what scenes are made of, each equally likely.
        config: size of the canvas, number and size of the digits.
        num_scenes: N.
        seed: where the random stream starts.
        with_masks: whether to tell each pixel's object too; training has no use for that.

    Returns:
        N scenes of uint8 images, with count, labels, boxes and perhaps masks.

    Raises:
        DataError: the digits hardly ever fit the canvas.
    """
    random = np.random.default_rng(seed)
    size, max_objects = config.canvas_size, config.max_objects
    images = np.zeros((num_scenes, size, size), np.uint8)
    labels = np.full((num_scenes, max_objects), -1, np.int64)
    boxes = np.full((num_scenes, max_objects, 4), np.nan, np.float32)
    masks = np.zeros_like(images) if with_masks else None
    counts, weights = map(np.array, zip(*config.weighted_counts(), strict=True))
    if config.count_weights is None:
        count = counts[random.integers(len(counts), size=num_scenes)]
    else:
        count = random.choice(counts, num_scenes, p=weights / weights.sum())

    # The fullest scenes come first, so that impossible settings fail at once.
    for num_digits in range(max_objects, 0, -1):
        rows = np.flatnonzero(count == num_digits)
        largest_batch = min(DIGITS_PER_BATCH // num_digits, PIXELS_PER_BATCH // size**2) or 1
        filled = drawn = 0
        while filled < len(rows):
            # More than are missing, and ever more, so that few rounds suffice.
            batch_size = min(2 * (len(rows) - filled) + drawn, largest_batch)
            batch_images, batch_labels, batch_boxes, batch_masks = _draw_batch(
                digits, config, batch_size, num_digits, random, with_masks
            )
            into = rows[filled : filled + len(batch_images)]
            images[into] = batch_images[: len(into)]
            labels[into, :num_digits] = batch_labels[: len(into)]
            boxes[into, :num_digits] = batch_boxes[: len(into)]
            if masks is not None and batch_masks is not None:
                masks[into] = batch_masks[: len(into)]
            filled += len(into)
            drawn += batch_size
            hopeless = drawn * num_digits >= MIN_DRAWN and filled < drawn * MIN_ACCEPTANCE
            if hopeless and filled < len(rows):
                raise DataError(
                    f"data.max_objects={max_objects} is too many for "
                    f"data.canvas_size={size}: {num_digits} digits fitted without a pixel above "
                    f"255 in {filled} of {drawn} scenes; lower data.max_objects, or raise "
                    f"data.canvas_size or data.digit_scale_mean"
                )
    arrays = (
        (images, count, labels, boxes) if masks is None else (images, count, labels, boxes, masks)
    )
    return Scenes(*map(torch.from_numpy, arrays))


def _draw_batch(
    digits: Digits,
    config: SceneConfig,
    num_scenes: int,
    num_digits: int,
    random: np.random.Generator,
    with_masks: bool,
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8] | None]:
    """Draw scenes of `num_digits` each and return those in which no pixel exceeds 255.

    Returns:
        Images, labels, boxes and, if asked for, masks.
    """
    shape = (num_scenes, num_digits)
    which = random.integers(len(digits), size=shape)
    scales = config.digit_scale_mean + config.digit_scale_sd * random.standard_normal(shape)
    # A scale near or below 0, from a large sd, means the largest digit that fits.
    sizes = np.clip(DIGIT_SIZE / np.maximum(scales, 1e-6), 1, config.canvas_size).astype(np.int64)
    last_corners = config.canvas_size - sizes[..., np.newaxis]
    corners = random.integers(0, last_corners + 1, size=(*shape, 2))  # x and y of the top left

    canvases = np.zeros((num_scenes, config.canvas_size, config.canvas_size), np.int32)
    boxes = np.empty((*shape, 4), np.int64)
    masks = np.zeros(canvases.shape, np.uint8) if with_masks else None
    brightest = np.zeros_like(masks) if masks is not None else None
    for size in np.unique(sizes):  # all digits of one size at once
        slots, scenes = np.nonzero(np.equal(sizes.T, size))  # (M,) each
        patches = _resize(digits.images[which[scenes, slots]], int(size))  # (M, size, size)
        x, y = corners[scenes, slots].T
        boxes[scenes, slots] = _tight_boxes(patches) + np.stack([x, y, x, y], axis=1)
        windows = sliding_window_view(canvases, (size, size), axis=(1, 2), writeable=True)
        # One digit of each scene at a time: += does not add twice at the same index.
        for slot in np.unique(slots):
            now = slots == slot
            place = scenes[now], y[now], x[now]
            windows[place] += patches[now]
            if masks is not None and brightest is not None:
                _mark(masks, brightest, place, patches[now], slot + 1)

    fits = canvases.reshape(num_scenes, -1).max(axis=1) <= 255
    images = canvases[fits].astype(np.uint8)
    return images, digits.labels[which[fits]], boxes[fits], None if masks is None else masks[fits]


def _mark(
    masks: NDArray[np.uint8],
    brightest: NDArray[np.uint8],
    place: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]],
    patches: NDArray[np.uint8],
    number: int,
) -> None:
    """Give a digit the pixels where it is brighter than those before it, in both arrays.

    Args:
        masks: (scenes, canvas_size, canvas_size), the number of each pixel's digit.
        brightest: of the same shape, that digit's own brightness.
        place: scene, top row and left column of each patch, (M,) each.
        patches: (M, size, size).
        number: of the digits in their scenes.
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


def _tight_boxes(patches: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return [x0, y0, x1, y1] of the nonzero pixels, (M, 4), of patches (M, size, size)."""
    size = patches.shape[-1]
    columns, rows = patches.max(axis=1) > 0, patches.max(axis=2) > 0  # (M, size)
    return np.stack(
        [
            columns.argmax(axis=1),
            rows.argmax(axis=1),
            size - columns[:, ::-1].argmax(axis=1),
            size - rows[:, ::-1].argmax(axis=1),
        ],
        axis=1,
    )
