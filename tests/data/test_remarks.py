"""What is said of training images that AIR will hardly learn from, and of which ones it is not."""

import logging

import numpy as np
import pytest
import torch

from air.cli.compose import compose_config
from air.data.config import ShardsConfig
from air.data.loading import load_data
from air.data.remarks import remarks
from air.data.scenes import Scenes
from air.data.shards import load_shards
from air.training.run import train

RANDOM = np.random.default_rng(0)


def squares(num=200, size=20):
    """White squares, one in each image, on black."""
    x = np.zeros((num, size, size), np.uint8)
    for image, (top, left) in zip(x, RANDOM.integers(0, size - 5, (num, 2)), strict=True):
        image[top : top + 5, left : left + 5] = 255
    return x


def scenes(x):
    x = x.astype(np.uint8) if np.issubdtype(x.dtype, np.integer) else x.astype(np.float32)
    return Scenes(torch.from_numpy(x), None, None, None)


def emptied(x, share):
    """Have a share of the images black, spread among the others."""
    x = x.copy()
    x[RANDOM.permutation(len(x))[: round(share * len(x))]] = 0
    return x


def noisy(x, level):
    noise = level + 0.15 * RANDOM.standard_normal(x.shape)
    return (x / 255 + noise).clip(0, 1)


X = squares()
ONE_BRIGHTNESS, SAME, LIGHT = "one brightness throughout", "the same picture", "on any ground"
CASES = {
    "white on black": (X, []),
    "floats": (X / 255, []),
    "grey": (X // 3, []),
    "many empty": (emptied(X, 0.9), []),
    "nearly all empty": (emptied(X, 0.99), [ONE_BRIGHTNESS]),
    "black": (X * 0, [ONE_BRIGHTNESS]),
    "hardly any contrast": (X // 17, [ONE_BRIGHTNESS]),  # of 16 levels, taken for bytes
    "0 and 1 divided by 255": (X / 255 / 255, [ONE_BRIGHTNESS]),
    "one picture": (X[:1].repeat(200, 0), [SAME]),
    "one picture, with a little noise": (X[:1] // 2 + RANDOM.integers(0, 9, X.shape), [SAME]),
    "black on white": (255 - X, [LIGHT]),
    "white": (X * 0 + 255, [ONE_BRIGHTNESS, LIGHT]),
    "noise on dark": (noisy(X, 0.15), []),
    "noise on light": (noisy(255 - X, -0.2), [LIGHT]),
    "noise alone": (RANDOM.integers(0, 256, X.shape), []),
    "two images": (X[:2], []),
}


@pytest.mark.parametrize(("x", "expected"), CASES.values(), ids=CASES)
def test_what_is_odd_is_one_line_each(x, expected):
    lines = remarks(scenes(x))
    assert len(lines) == len(expected)
    for line, part in zip(lines, expected, strict=True):
        assert part in line
        assert "\n" not in line


def test_a_light_ground_is_not_odd_where_there_is_a_background():
    assert remarks(scenes(255 - X)) != []
    assert remarks(scenes(255 - X), on_black=False) == []


def test_images_on_disk_are_looked_at_all_over(tmp_path):
    x = np.concatenate([X * 0 + 255, 255 - X])
    for number, part in enumerate(np.split(x, [10, 250])):
        np.save(tmp_path / f"train-{number}.npy", part)
    np.savez(tmp_path / "test.npz", x=X)
    stored = load_shards(ShardsConfig(kind="shards", path=str(tmp_path), test_path=None)).train
    assert remarks(stored) == remarks(scenes(x))
    assert len(remarks(stored)) == 1  # the first file alone would be two


@pytest.mark.parametrize("max_objects", [1, 3])
def test_scenes_of_digits_are_not_odd(data_root, max_objects):
    overrides = ("experiment=smoke", f"data.root={data_root}", f"data.max_objects={max_objects}")
    assert remarks(load_data(compose_config(overrides).data).train) == []


def test_a_run_says_it_once(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    np.savez(tmp_path / "x.npz", x=255 - squares(size=50))
    small = ("experiment=quickstart", "train.num_iterations=1", "train.step=eager")
    data = ("data=npz", f"data.path={tmp_path / 'x.npz'}", "tracking=none", "train.num_pictures=0")
    train(compose_config((*small, *data)), tmp_path / "run", [])
    said = [record.getMessage() for record in caplog.records if LIGHT in record.getMessage()]
    assert len(said) == 1
