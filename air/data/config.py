"""What images a run learns from: the group `data`, each option with its `build`; and what
`scripts/make_scenes.py` draws.

Another data set is a dataclass here with a `kind` of its own in the union `DataConfig`, the module
that its `build` imports, and a preset in `conf/data/`.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from air.errors import ConfigError
from air.fields import (
    AbsolutePath,
    Count,
    GivenPath,
    PositiveInt,
    PositiveReal,
    Probability,
    Seed,
    UserPath,
    Weight,
    strict,
)

if TYPE_CHECKING:
    from air.data.digits import Digits
    from air.data.scenes import Data

# How an image becomes a square: the whole of it, with its edge's colour around; or its middle.
Fit = Literal["pad", "crop"]

DIGIT_SIZE = 28  # pixels, width and height of an MNIST digit


@strict
class SceneConfig:
    """What the two multi-MNIST presets share: how scenes are drawn from digits."""

    canvas_size: PositiveInt  # pixels, width and height
    min_objects: Count
    max_objects: PositiveInt
    held_out_counts: tuple[Count, ...]  # numbers of objects that no scene has
    count_weights: tuple[Weight, ...] | None  # how often each number is drawn; null: equally often
    digit_scale_mean: PositiveReal  # a digit of 28 pixels is resized to 28 / (mean + sd * noise)
    digit_scale_sd: Annotated[float, Field(ge=0)]
    num_train: PositiveInt  # scenes
    num_test: PositiveInt
    seed: Seed
    root: GivenPath  # folder for generated scenes and downloaded digits

    def __post_init__(self) -> None:
        """Check what the fields must be to one another.

        Raises:
            ConfigError: the fields ask for no scene, or for digits larger than the canvas.
        """
        if self.min_objects > self.max_objects:
            raise ConfigError(
                f"data.min_objects: must be at most data.max_objects={self.max_objects}, "
                f"got {self.min_objects}"
            )
        span = f"from data.min_objects={self.min_objects} to data.max_objects={self.max_objects}"
        num_counts = self.max_objects - self.min_objects + 1
        if self.count_weights is not None and len(self.count_weights) != num_counts:
            raise ConfigError(
                f"data.count_weights: must be {num_counts} numbers, one for each count {span}, "
                f"got {list(self.count_weights)}"
            )
        if not any(weight for _, weight in self.weighted_counts()):
            name = "held_out_counts" if self.count_weights is None else "count_weights"
            got = list(getattr(self, name))
            raise ConfigError(f"data.{name}: must leave a count {span}, got {got}")
        smallest_canvas = math.ceil(DIGIT_SIZE / self.digit_scale_mean)
        if self.canvas_size < smallest_canvas:
            raise ConfigError(
                f"data.canvas_size: must be at least {smallest_canvas} pixels, the width of a "
                f"digit at data.digit_scale_mean={self.digit_scale_mean}, got {self.canvas_size}"
            )

    def weighted_counts(self) -> list[tuple[int, float]]:
        """Return the numbers of objects that scenes may have, and how often each, relatively."""
        counts = range(self.min_objects, self.max_objects + 1)
        weights = self.count_weights or (1.0,) * len(counts)
        return [
            (count, weight)
            for count, weight in zip(counts, weights, strict=True)
            if count not in self.held_out_counts
        ]

    def digits(self) -> tuple[Digits, Digits]:
        """Return what training scenes and test scenes are made of."""
        raise NotImplementedError

    def build(self) -> Data:
        """Draw the scenes, or read them where they have been drawn before.

        Raises:
            DataError: they cannot be downloaded, drawn or kept on disk.
        """
        from air.data.cache import cached_data

        return cached_data(*self.digits(), self)


@strict
class MultiMNISTConfig(SceneConfig):
    """Scenes of the digits that come with the package."""

    kind: Literal["multi_mnist"]

    def digits(self) -> tuple[Digits, Digits]:
        """Return the bundled digits, for training and for test scenes."""
        from air.data.digits import bundled_digits

        return bundled_digits()


@strict
class MultiMNISTFullConfig(SceneConfig):
    """Scenes of all of MNIST, downloaded by torchvision when absent."""

    kind: Literal["multi_mnist_full"]

    def digits(self) -> tuple[Digits, Digits]:
        """Return MNIST's own training and test digits, downloaded when absent."""
        from air.data.digits import full_mnist

        return full_mnist(Path(self.root).expanduser())


@strict
class NpzConfig:
    """The user's own images: one file for training, one (or a share of the first) held out."""

    kind: Literal["npz"]
    path: AbsolutePath
    test_path: AbsolutePath | None  # null: hold out `test_fraction` of `path`
    test_fraction: Probability
    seed: Seed  # chooses the held-out images

    def build(self) -> Data:
        """Read the images.

        Raises:
            DataError: a file cannot be used.
        """
        from air.data.npz import load_npz

        return load_npz(self)


@strict
class ShardsConfig:
    """Images that need not fit in memory: a folder of .npy files to train on, one file held out."""

    kind: Literal["shards"]
    path: AbsolutePath
    test_path: AbsolutePath | None  # null: test.npz in the folder

    def build(self) -> Data:
        """Open the files to train on, and read the held-out images.

        Raises:
            DataError: a file cannot be used.
        """
        from air.data.shards import load_shards

        return load_shards(self)


@strict
class ImagesConfig:
    """The user's own image files: a folder to train on, and another (or a share of it) held out."""

    kind: Literal["images"]
    path: AbsolutePath
    test_path: AbsolutePath | None  # null: hold out `test_fraction` of `path`
    test_fraction: Probability
    seed: Seed  # chooses the held-out images
    size: PositiveInt  # pixels, width and height of what is made of every file
    fit: Fit
    colour: bool | None  # null: unless every file is grey
    root: GivenPath  # folder for decoded images

    def build(self) -> Data:
        """Decode the files, or read what has been made of them before.

        Raises:
            DataError: a file cannot be used.
        """
        from air.data.folder import load_folder

        return load_folder(self)


DataConfig = Annotated[
    MultiMNISTConfig | MultiMNISTFullConfig | NpzConfig | ShardsConfig | ImagesConfig,
    Field(discriminator="kind"),
]


@strict
class MakeScenesConfig:
    """A folder of scenes that `data=shards` reads."""

    out: UserPath
    num_train: PositiveInt  # scenes
    num_test: PositiveInt
    scenes_per_file: PositiveInt
    data: Annotated[MultiMNISTConfig | MultiMNISTFullConfig, Field(discriminator="kind")]
