"""What images a run learns from: the options of the group `data`; and what
`scripts/make_scenes.py` draws."""

from __future__ import annotations

import math
from typing import Annotated, Literal

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
    strict,
)

DIGIT_SIZE = 28  # pixels, width and height of an MNIST digit


@strict
class SceneConfig:
    """What the two multi-MNIST presets share: how scenes are drawn from digits."""

    canvas_size: PositiveInt  # pixels, width and height
    min_objects: Count
    max_objects: PositiveInt
    held_out_counts: tuple[Count, ...]  # numbers of objects that no scene has
    digit_scale_mean: PositiveReal  # a digit of 28 pixels is resized to 28 / (mean + sd * noise)
    digit_scale_sd: Annotated[float, Field(ge=0)]
    num_train: PositiveInt  # scenes
    num_test: PositiveInt
    seed: Seed
    root: GivenPath  # folder for generated scenes and downloaded digits


@strict
class MultiMNISTConfig(SceneConfig):
    """Scenes of the digits that come with the package."""

    kind: Literal["multi_mnist"]


@strict
class MultiMNISTFullConfig(SceneConfig):
    """Scenes of all of MNIST, downloaded by torchvision when absent."""

    kind: Literal["multi_mnist_full"]


@strict
class NpzConfig:
    """The user's own images: one file for training, one (or a share of the first) held out."""

    kind: Literal["npz"]
    path: AbsolutePath
    test_path: AbsolutePath | None  # null: hold out `test_fraction` of `path`
    test_fraction: Probability
    seed: Seed  # chooses the held-out images


@strict
class ShardsConfig:
    """Images that need not fit in memory: a folder of .npy files to train on, one file held out."""

    kind: Literal["shards"]
    path: AbsolutePath
    test_path: AbsolutePath | None  # null: test.npz in the folder


DataConfig = MultiMNISTConfig | MultiMNISTFullConfig | NpzConfig | ShardsConfig


@strict
class MakeScenesConfig:
    """A folder of scenes that `data=shards` reads."""

    out: UserPath
    num_train: PositiveInt  # scenes
    num_test: PositiveInt
    scenes_per_file: PositiveInt
    data: Annotated[MultiMNISTConfig | MultiMNISTFullConfig, Field(discriminator="kind")]


def check_scenes(data: SceneConfig) -> None:
    """Check what a scene's fields must be to one another.

    Raises:
        ConfigError: the fields ask for no scene, or for digits larger than the canvas.
    """
    if data.min_objects > data.max_objects:
        raise ConfigError(
            f"data.min_objects: must be at most data.max_objects={data.max_objects}, "
            f"got {data.min_objects}"
        )
    if set(range(data.min_objects, data.max_objects + 1)) <= set(data.held_out_counts):
        raise ConfigError(
            f"data.held_out_counts: must leave a count from data.min_objects="
            f"{data.min_objects} to data.max_objects={data.max_objects}, "
            f"got {list(data.held_out_counts)}"
        )
    smallest_canvas = math.ceil(DIGIT_SIZE / data.digit_scale_mean)
    if data.canvas_size < smallest_canvas:
        raise ConfigError(
            f"data.canvas_size: must be at least {smallest_canvas} pixels, the width of a "
            f"digit at data.digit_scale_mean={data.digit_scale_mean}, got {data.canvas_size}"
        )
