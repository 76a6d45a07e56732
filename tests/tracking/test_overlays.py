"""Windows drawn into pictures."""

import numpy as np
import pytest
from PIL import ImageColor

from air.pictures.colours import STEP_COLOURS, step_colour
from air.tracking.overlays import with_windows
from air.tracking.values import Box, Picture


def rgb(step):
    return ImageColor.getrgb(step_colour(step))


@pytest.mark.parametrize(("scale", "line"), [(1, 1), (4, 2)])
def test_pixels_keep_their_values_and_windows_have_the_colours_of_their_steps(scale, line):
    image = np.random.default_rng(0).integers(0, 256, (8, 12), np.uint8)
    boxes = (Box(1.0, 2.0, 5.0, 6.0, step=0), Box(7.0, 1.0, 11.0, 4.0, step=1))
    drawn = with_windows(Picture(image, None, boxes), scale)
    assert drawn.shape == (8 * scale, 12 * scale, 3)
    expected = np.repeat(np.repeat(image, scale, 0), scale, 1)[..., None].repeat(3, -1)
    for box in boxes:
        x0, y0, x1, y1 = (int(edge) * scale for edge in (box.x0, box.y0, box.x1, box.y1))
        rows, columns = slice(y0 + line, y1 - line), slice(x0 + line, x1 - line)
        inside = expected[rows, columns].copy()
        expected[y0:y1, x0:x1] = rgb(box.step)
        expected[rows, columns] = inside
    np.testing.assert_array_equal(drawn, expected)


def test_a_window_may_stand_out_of_the_picture_or_be_smaller_than_a_pixel():
    image = np.zeros((4, 4), np.uint8)
    outside = with_windows(Picture(image, None, (Box(-9.0, -9.0, 2.0, 9.0, step=2),)), 2)
    assert (outside[:, 3] == rgb(2)).all()
    assert not outside[:, 4:].any()
    tiny = with_windows(Picture(image, None, (Box(1.1, 1.1, 1.2, 1.2, step=0),)), 1)
    assert 1 <= (tiny != 0).any(-1).sum() <= 4  # a dot


def test_colour_pictures_stay_in_colour_and_the_picture_itself_unchanged():
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    np.testing.assert_array_equal(with_windows(Picture(image), 1), image)
    before = image.copy()
    with_windows(Picture(image, None, (Box(0.0, 0.0, 4.0, 4.0, step=0),)), 1)
    np.testing.assert_array_equal(image, before)


def test_colours_begin_again_after_the_last():
    assert step_colour(len(STEP_COLOURS)) == step_colour(0) != step_colour(1)
