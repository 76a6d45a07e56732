"""Images and, where it is known, the truth about what is in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from air.errors import DataError
from air.model.images import planes, to_unit

# Contrast, of 256 grey levels. At the presets' likelihood_sd of 0.3, an object of 100 pixels that
# stands out by less gains 2 nats at most, about what it costs.
FAINT = 16 / 255
_MAX_SAMPLE = 1000  # images
_MAX_PIXELS = 2**22  # of a sample, so that large images fit in memory

BatchIndices = Callable[[int], Tensor]  # iteration -> which images it sees, (batch_size,) int64
Batches = Callable[[int], Tensor]  # iteration -> those images, (batch_size, x_size, x_size)


class TrainingScenes(Protocol):
    """What training needs of its scenes, in memory or not."""

    def __len__(self) -> int: ...

    @property
    def x_size(self) -> int:
        """Width and height of an image, in pixels."""
        ...

    @property
    def num_channels(self) -> int:
        """1 of grey images, 3 of images in colour."""
        ...

    @property
    def max_count(self) -> int | None:
        """The largest number of objects in a scene; None if the counts are not known."""
        ...

    def subset(self, indices: slice | Tensor) -> Scenes:
        """Return some of the scenes, in memory: a slice, or int64 indices (M,)."""
        ...

    def batches(self, indices: BatchIndices, device: torch.device) -> Batches:
        """Return a function that gives the images of an iteration, as they are stored.

        Args:
            indices: iteration -> which images it sees; a function of the iteration alone.
            device: where the model is; images may come on the CPU all the same.
        """
        ...


@dataclass(frozen=True, eq=False)
class Scenes:
    """N square images with their truth; what is not known is None.

    Attributes:
        images: (N, x_size, x_size), or (N, x_size, x_size, 3) in colour: uint8 in 0..255, or
            float32 in [0, 1].
        count: number of objects, (N,) int64, or None.
        labels: class of each object, (N, max_objects) int64, -1 where there is no object, or None.
        boxes: tight boxes [x0, y0, x1, y1] in pixels, (N, max_objects, 4) float32, or None.
            x runs along columns and y along rows, both from 0 at the top left edge; x1 and y1 are
            exclusive, so x1 - x0 is the width. Rows without an object are nan.
        masks: the object that each pixel belongs to, 1, 2, … or 0 for none, (N, x_size, x_size)
            uint8, or None.
    """

    images: Tensor
    count: Tensor | None
    labels: Tensor | None
    boxes: Tensor | None
    masks: Tensor | None = None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def x_size(self) -> int:
        """Width and height of an image, in pixels."""
        return self.images.shape[1]

    @property
    def num_channels(self) -> int:
        """1 of grey images, 3 of images in colour."""
        return 1 if self.images.ndim == 3 else self.images.shape[3]

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(x_size, x_size), or (x_size, x_size, 3) in colour."""
        return tuple(self.images.shape[1:])

    @property
    def max_count(self) -> int | None:
        """The largest number of objects in a scene; None if the counts are not known."""
        return None if self.count is None else int(self.count.max())

    def batches(self, indices: BatchIndices, device: torch.device) -> Batches:
        """Return a function that gives the images of an iteration; all stay on the device.

        Args:
            indices: iteration -> which images it sees.
            device: where the model is.
        """
        images = self.images.to(device)  # as they are stored: mostly uint8
        return lambda iteration: images.index_select(0, indices(iteration).to(device))

    def varied(self, num: int) -> Scenes:
        """Return the first few scenes of every count in turn, or the first ones without counts.

        Args:
            num: how many, at most.
        """
        return self.subset(self.varied_indices(num))

    def varied_indices(self, num: int) -> Tensor:
        """Return where the scenes of `varied` are, (at most num,) int64."""
        if self.count is None:
            return torch.arange(min(num, len(self)))
        same = self.count.unsqueeze(-1) == self.count.unique()  # (N, counts)
        rank = (same.cumsum(0) * same).sum(-1)  # 1 for the first scene of its count, and so on
        order = (rank * (self.count.max() + 1) - self.count).argsort(stable=True)
        return order[:num]

    def subset(self, indices: slice | Tensor) -> Scenes:
        """Return some of the scenes, with their truth.

        Args:
            indices: which ones: a slice, or int64 indices (M,) into the N scenes.

        Returns:
            M scenes; for a slice they share memory with these.
        """
        return Scenes(
            images=self.images[indices],
            count=None if self.count is None else self.count[indices],
            labels=None if self.labels is None else self.labels[indices],
            boxes=None if self.boxes is None else self.boxes[indices],
            masks=None if self.masks is None else self.masks[indices],
        )


def evenly_spread(num_scenes: int, num: int) -> Tensor:
    """Return indices spread evenly over scenes, from the first to the last, (at most num,) int64.

    Args:
        num_scenes: of how many.
        num: how many, at most.
    """
    # In float64, as float32 cannot tell the last of 20 million scenes from the one after it.
    return torch.linspace(0, num_scenes - 1, num, dtype=torch.float64).long().unique()


def held_out(num_scenes: int, share: float, seed: int, where: str) -> tuple[Tensor, Tensor]:
    """Return the indices of scenes to train on, and of those to hold out, ascending.

    Args:
        num_scenes: how many there are.
        share: to hold out; at least one, and not all.
        seed: chooses them.
        where: the scenes are from, for errors.

    Raises:
        DataError: there are fewer than 2 scenes.
    """
    if num_scenes < 2:
        raise DataError(
            f"{where}: must hold at least 2 images, 1 of them to hold out, got {num_scenes}; "
            "or name a data.test_path"
        )
    num_test = min(max(1, round(num_scenes * share)), num_scenes - 1)
    order = np.random.default_rng(seed).permutation(num_scenes)
    # Sorted, so that scenes keep their order.
    train, test = np.sort(order[num_test:]), np.sort(order[:num_test])
    return torch.from_numpy(train), torch.from_numpy(test)


def sampled(train: TrainingScenes) -> Tensor:
    """Return at most 1000 of the training images, (N, channels, x_size, x_size), spread over all.

    They are floats in [0, 1], on the CPU. Of images larger than 64 pixels there are fewer.
    """
    num = min(_MAX_SAMPLE, max(2, _MAX_PIXELS // train.x_size**2))
    return planes(to_unit(train.subset(evenly_spread(len(train), num)).images, "cpu"))


@dataclass(frozen=True, eq=False)
class Data:
    """Scenes to train on, and scenes that training never sees."""

    train: TrainingScenes
    test: Scenes
