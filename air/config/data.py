"""What images a run learns from: the options of the group `data`, for every command that has it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from air.config.fields import (
    AbsolutePath,
    Count,
    GivenPath,
    PositiveInt,
    PositiveReal,
    Probability,
    Seed,
    strict,
)


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
