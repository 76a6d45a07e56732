"""What lies behind cutouts, which are the same with every background."""

import numpy as np
import pytest
import torch

from air.cli.compose import compose_config
from air.data.drawing import draw_scenes
from air.errors import ConfigError

BACKGROUNDS = ("noise", "grid", "slope")


def drawn(background, num=300):
    config = compose_config([f"data.background={background}"]).data
    return draw_scenes(config.painters()[1], config, num, 0, with_masks=True)


@pytest.fixture(scope="module")
def on_black():
    return drawn("none")


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_objects_are_those_on_black(on_black, background):
    scenes = drawn(background)
    for name in ("count", "labels", "boxes"):
        np.testing.assert_array_equal(getattr(scenes, name), getattr(on_black, name))
    shown = scenes.masks > 0
    assert torch.equal(scenes.masks[shown], on_black.masks[shown])
    # Only what the background outshines is not shown, such as the faint edges of strokes.
    lost = on_black.images[(on_black.masks > 0) & ~shown]
    assert lost.max() < 255 / 2
    assert 0 < len(lost) < shown.sum()


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_a_background_is_random_and_the_same_for_a_seed(background):
    scenes, again = drawn(background, 40), drawn(background, 40)
    assert torch.equal(scenes.images, again.images)
    empty = scenes.images[scenes.count == 0]
    assert len(empty.unique(dim=0)) > 1


def test_noise_is_normal_about_a_grey(on_black):
    pixels = drawn("noise").images[on_black.images == 0].numpy() / 255
    below, median, above = np.quantile(pixels, (0.16, 0.5, 0.84))
    # From 5e5 pixels: quantiles are good to 1e-3, and steps of a byte are 4e-3.
    assert median == pytest.approx(0.2, abs=5e-3)
    assert above - median == pytest.approx(0.15, abs=8e-3)
    assert median - below == pytest.approx(0.15, abs=8e-3)


def test_a_grid_has_lines_and_digits_are_brighter(on_black):
    scenes = drawn("grid")
    for image in scenes.images[scenes.count == 0]:
        line = image.max()
        assert line > 0
        rows, columns = (image == line).all(1), (image == line).all(0)
        assert torch.equal(image > 0, rows[:, None] | columns[None, :])
        for where in (rows, columns):
            assert where.nonzero().diff(dim=0).unique().numel() == 1  # one distance
    grid = torch.where(on_black.images == 0, scenes.images, 0)
    assert torch.equal(scenes.images > 0, (grid > 0) | (on_black.images > 0))
    shown = scenes.masks > 0
    assert torch.equal(scenes.images[shown], on_black.images[shown])


def test_a_slope_is_a_plane_with_noise():
    scenes = drawn("slope")
    images = scenes.images[scenes.count == 0].flatten(1).double().numpy() / 255
    y, x = (axis.flatten() / 50 - 0.5 for axis in np.mgrid[0:50, 0:50])
    planes = np.stack([np.ones(2500), x, y], 1)
    fitted, *_ = np.linalg.lstsq(planes, images.T, rcond=None)
    noise = images - (planes @ fitted).T
    assert noise.std() == pytest.approx(0.1, abs=0.01)  # a little is cut off at black
    assert fitted[0] == pytest.approx(np.full(len(images), 0.3), abs=0.02)
    assert np.abs(fitted[1:]).max() < 0.28
    assert fitted[1:].std(1) == pytest.approx([0.5 / 12**0.5] * 2, abs=0.04)  # uniform, n = 100


def test_another_word_is_one_clear_error():
    with pytest.raises(ConfigError, match=r"^data\.background: must be 'none'.*got 'lines'$") as e:
        compose_config(["data.background=lines"])
    assert "\n" not in str(e.value)
