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
    PositiveShare,
    Probability,
    Seed,
    UserPath,
    Weight,
    strict,
)

if TYPE_CHECKING:
    from air.data.cutouts import Cutouts
    from air.data.painter import Painter
    from air.data.scenes import Data

# How an image becomes a square: the whole of it, with its edge's colour around; or its middle.
Fit = Literal["pad", "crop"]

CUTOUT_SIZE = 28  # pixels, width and height of a cutout, such as an MNIST digit
CutoutBackground = Literal["none", "noise", "grid", "slope"]
SpriteKind = Literal["disc", "square", "triangle", "bar", "ring", "cross"]


@strict
class SceneConfig:
    """What all scenes that are drawn here share."""

    canvas_size: PositiveInt  # pixels, width and height
    min_objects: Count
    max_objects: PositiveInt
    held_out_counts: tuple[Count, ...]  # numbers of objects that no scene has
    count_weights: tuple[Weight, ...] | None  # how often each number is drawn; null: equally often
    num_train: PositiveInt  # scenes
    num_test: PositiveInt
    seed: Seed
    root: GivenPath  # folder of drawn scenes, and of what is downloaded

    def __post_init__(self) -> None:
        """Check what the fields must be to one another.

        Raises:
            ConfigError: the fields ask for no scene, or for objects larger than the canvas.
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

    def weighted_counts(self) -> list[tuple[int, float]]:
        """Return the numbers of objects that scenes may have, and how often each, relatively."""
        counts = range(self.min_objects, self.max_objects + 1)
        weights = self.count_weights or (1.0,) * len(counts)
        return [
            (count, weight)
            for count, weight in zip(counts, weights, strict=True)
            if count not in self.held_out_counts
        ]

    @property
    def num_channels(self) -> int:
        """1 of grey images, 3 of images in colour."""
        return 1

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(canvas_size, canvas_size), or (canvas_size, canvas_size, 3) in colour."""
        size = (self.canvas_size, self.canvas_size)
        return size if self.num_channels == 1 else (*size, self.num_channels)

    def painters(self) -> tuple[Painter, Painter]:
        """Return what paints training scenes and test scenes.

        Raises:
            DataError: what they are made of cannot be read or downloaded.
        """
        raise NotImplementedError

    def build(self) -> Data:
        """Draw the scenes, or read them where they have been drawn before.

        Raises:
            DataError: they cannot be downloaded, drawn or kept on disk.
        """
        from air.data.cache import cached_data

        return cached_data(*self.painters(), self)


@strict
class CutoutConfig(SceneConfig):
    """What scenes of cutouts share, whatever these show."""

    scale_mean: PositiveReal  # a cutout of 28 pixels is resized to 28 / (mean + sd * noise)
    scale_sd: Annotated[float, Field(ge=0)]
    background: CutoutBackground

    def __post_init__(self) -> None:
        """Check what the fields must be to one another."""
        super().__post_init__()
        smallest_canvas = math.ceil(CUTOUT_SIZE / self.scale_mean)
        if self.canvas_size < smallest_canvas:
            raise ConfigError(
                f"data.canvas_size: must be at least {smallest_canvas} pixels, the width of a "
                f"cutout at data.scale_mean={self.scale_mean}, got {self.canvas_size}"
            )

    def cutouts(self) -> tuple[Cutouts, Cutouts]:
        """Return what training scenes and test scenes are made of.

        Raises:
            DataError: it cannot be read or downloaded.
        """
        raise NotImplementedError

    def painters(self) -> tuple[Painter, Painter]:
        """Return what paints training scenes and test scenes."""
        from air.data.multi_mnist import CutoutPainter

        train, test = self.cutouts()
        return CutoutPainter(train, self), CutoutPainter(test, self)


@strict
class MultiMNISTConfig(CutoutConfig):
    """Scenes of the digits that come with the package."""

    kind: Literal["multi_mnist"]

    def cutouts(self) -> tuple[Cutouts, Cutouts]:
        """Return the bundled digits, for training and for test scenes."""
        from air.data.digits import bundled_digits

        return bundled_digits()


@strict
class MultiMNISTFullConfig(CutoutConfig):
    """Scenes of all of MNIST, downloaded by torchvision when absent."""

    kind: Literal["multi_mnist_full"]

    def cutouts(self) -> tuple[Cutouts, Cutouts]:
        """Return MNIST's own training and test digits, downloaded when absent."""
        from air.data.downloaded import full_mnist

        return full_mnist(Path(self.root).expanduser())


@strict
class MultiFashionConfig(CutoutConfig):
    """Scenes of FashionMNIST's clothes, downloaded by torchvision when absent."""

    kind: Literal["multi_fashion"]

    def cutouts(self) -> tuple[Cutouts, Cutouts]:
        """Return FashionMNIST's own training and test pictures, downloaded when absent."""
        from air.data.downloaded import fashion_mnist

        return fashion_mnist(Path(self.root).expanduser())


@strict
class OmniglotConfig(CutoutConfig):
    """Scenes of Omniglot's handwritten characters, downloaded by torchvision when absent."""

    kind: Literal["omniglot"]

    def cutouts(self) -> tuple[Cutouts, Cutouts]:
        """Return characters of Omniglot's background and evaluation sets."""
        from air.data.downloaded import omniglot

        return omniglot(Path(self.root).expanduser())


@strict
class SpritesConfig(SceneConfig):
    """Scenes of plain shapes that cover one another."""

    kind: Literal["sprites"]
    kinds: Annotated[tuple[SpriteKind, ...], Field(min_length=1)]  # of shapes, each equally likely
    min_size: Annotated[float, Field(ge=6)]  # pixels, across the circle around a shape
    max_size: Annotated[float, Field(ge=6)]
    min_visible: PositiveShare  # the share of each shape that no other one covers, at least
    colour: bool  # or grey
    background: Literal["black", "white", "plain"]  # plain: of one colour of its own in each scene

    def __post_init__(self) -> None:
        """Check what the fields must be to one another."""
        super().__post_init__()
        for name, most in (("min_size", "max_size"), ("max_size", "canvas_size")):
            if getattr(self, name) > getattr(self, most):
                raise ConfigError(
                    f"data.{name}: must be at most data.{most}={getattr(self, most)}, "
                    f"got {getattr(self, name)}"
                )

    @property
    def num_channels(self) -> int:
        """1 of grey images, 3 of images in colour."""
        return 3 if self.colour else 1

    def painters(self) -> tuple[Painter, Painter]:
        """Return what paints training scenes and test scenes."""
        from air.data.sprites import SpritePainter

        return SpritePainter(self), SpritePainter(self)


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


DrawnConfig = (
    MultiMNISTConfig | MultiMNISTFullConfig | MultiFashionConfig | OmniglotConfig | SpritesConfig
)
DataConfig = Annotated[
    DrawnConfig | NpzConfig | ShardsConfig | ImagesConfig, Field(discriminator="kind")
]


@strict
class MakeScenesConfig:
    """A folder of scenes that `data=shards` reads."""

    out: UserPath
    num_train: PositiveInt  # scenes
    num_test: PositiveInt
    scenes_per_file: PositiveInt
    data: Annotated[DrawnConfig, Field(discriminator="kind")]
