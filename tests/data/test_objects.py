"""The size and the spread of objects, found in images without their truth."""

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from air.cli.compose import compose_config
from air.data.drawing import draw_scenes
from air.data.ground import grounds_of
from air.data.objects import typical_objects
from air.data.scenes import Scenes, sampled
from air.model.images import planes

GENERATOR = torch.Generator().manual_seed(0)


def uniform(*shape):
    return torch.rand(*shape, generator=GENERATOR)


def noise(*shape):
    return torch.randn(*shape, generator=GENERATOR)


def found_in(images):
    return typical_objects(planes(images), grounds_of(planes(images)))


def squares(width, size, num=150, max_objects=1, ground=0.0, ink=1.0):
    """Draw up to `max_objects` squares in each image, anywhere; return also their centres' spread.

    Squares are shaded, so that a part of each is faint.
    """
    images = torch.full((num, size, size), ground)
    shade = torch.linspace(0.5, 1, width).expand(width, -1)
    corners = (uniform(num, max_objects, 2) * (size - width + 1)).long()
    counts = (uniform(num) * (max_objects + 1)).long()
    centres = []
    for image, places, count in zip(images, corners.tolist(), counts.tolist(), strict=True):
        for x, y in places[:count]:
            image[y : y + width, x : x + width] = ground + (ink - ground) * shade
            centres += [(2 * x + width) / size - 1, (2 * y + width) / size - 1]
    return images, torch.tensor(centres).square().mean().sqrt().item()


@settings(max_examples=15, deadline=None)
@given(
    width=st.integers(3, 20),
    size=st.integers(30, 61),
    shades=st.sampled_from([(0.0, 1.0), (1.0, 0.0), (0.3, 0.8), (0.7, 0.1), (0.0, 0.15)]),
)
@example(width=5, size=101, shades=(0.0, 1.0))
def test_squares_of_any_size_on_any_plain_ground(width, size, shades):
    ground, ink = shades
    images, spread = squares(width, size, ground=ground, ink=ink)
    found = found_in(images)
    assert found.size == width
    assert found.spread == pytest.approx(spread, rel=1e-3)


@pytest.mark.parametrize(("width", "size", "max_objects"), [(12, 50, 4), (12, 60, 6), (25, 50, 2)])
def test_objects_that_touch_hardly_change_the_size(width, size, max_objects):
    images, spread = squares(width, size, 600, max_objects)
    found = found_in(images)
    assert found.size == pytest.approx(width, rel=0.06)
    assert found.spread == pytest.approx(spread, rel=0.15)


def test_strokes_that_come_apart_are_one_object_and_specks_are_none():
    images, spread = squares(12, 50)
    images[:, ::4] = 0  # lines one pixel wide
    images[:, 0, ::10] = 1
    found = found_in(images)
    assert found.size == pytest.approx(12, rel=0.05)  # a few have a speck at their edge
    assert found.spread == pytest.approx(spread, rel=0.02)


def test_a_little_noise_is_no_object():
    images, spread = squares(12, 50, ground=0.3, ink=0.9)
    found = found_in((images + 0.03 * noise(*images.shape)).clamp(0, 1))
    assert found.size == pytest.approx(12, rel=0.03)
    assert found.spread == pytest.approx(spread, rel=0.02)


def test_objects_that_are_nearly_always_at_one_place_are_spread_over_a_pixel():
    images = torch.zeros(9, 1, 21, 21)
    images[..., 8:13, 8:13] = 1
    assert typical_objects(images, torch.zeros_like(images)).spread == pytest.approx(2 / 21)


@pytest.mark.parametrize("ground", ["noise", "slopes", "lines", "colours"])
def test_objects_are_found_on_any_ground_that_images_share(ground):
    images, spread = squares(12, 50, 400)
    behind = {
        "noise": 0.15 + 0.15 * noise(400, 50, 50),
        "slopes": 0.3 + 0.2 * uniform(400, 1, 1) * torch.linspace(-1, 1, 50),
        "lines": torch.stack([lines(shift) for shift in range(5)])[torch.arange(400) % 5],
        "colours": uniform(400, 1, 1, 3).expand(-1, 50, 50, -1),
    }[ground]
    if ground == "colours":
        images, shown = images.unsqueeze(-1), torch.tensor([0.0, 0.5, 1.0])
        scenes = torch.where(images > 0, shown, behind)
    else:
        scenes = torch.where(images > 0, 0.9, 0.0).maximum(behind)
    found = found_in(scenes.clamp(0, 1))
    blurred = 0.2 if ground == "noise" else 0.02  # which makes objects larger
    assert found.size == pytest.approx(12, rel=blurred)
    assert found.spread == pytest.approx(spread, rel=0.05)


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("data.canvas_size=75", "data.max_objects=5"),
        ("data.canvas_size=100",),
        ("data.scale_mean=2.0",),
        ("data.scale_mean=0.8",),
    ],
)
def test_digits_are_found_as_large_and_as_spread_as_they_are(overrides):
    config = compose_config(overrides).data
    scenes = draw_scenes(config.painters()[0], config, 1000, seed=0)
    boxes = scenes.boxes[~scenes.boxes.isnan().any(-1)]
    centres = (boxes[:, :2] + boxes[:, 2:]) / config.canvas_size - 1
    unlabelled = Scenes(scenes.images, None, None, None)
    images = sampled(unlabelled)
    found = typical_objects(images, grounds_of(images))
    sides = (boxes[:, 2:] - boxes[:, :2]).amax(1)
    # Boxes hold the faintest pixel of a digit's edge, which takes more of small digits.
    assert found.size == pytest.approx(sides.mean().item(), rel=0.1)
    assert found.spread == pytest.approx(centres.square().mean().sqrt().item(), rel=0.15)


def lines(shift):
    """A grid of lines, which may reach from edge to edge in every image."""
    image = torch.zeros(50, 50)
    image[shift::5] = 0.5
    image[:, shift::5] = 0.5
    return image


def bar(place):
    """A bar from edge to edge, elsewhere in every image."""
    image = torch.zeros(50, 50)
    image[:, place : place + 4] = 1.0
    return image


IMAGES = squares(12, 50)[0]
NOT_FOUND = {
    "blank": (IMAGES * 0 + 0.4, "nothing stands out clearly"),
    "hardly any contrast": (IMAGES / 17, "nothing stands out clearly"),
    "noise": ((0.5 + 0.15 * noise(*IMAGES.shape)).clamp(0, 1), "nothing stands out clearly"),
    "bars": (torch.stack([bar(place) for place in range(46)]), "from edge to edge"),
    "specks": ((uniform(20, 50, 50) < 0.003).float(), "nothing of 4 pixels or more"),
}


@pytest.mark.parametrize(("images", "reason"), NOT_FOUND.values(), ids=NOT_FOUND)
def test_where_nothing_can_be_found_it_is_said_why(images, reason):
    with pytest.raises(ValueError, match=reason):
        found_in(images)
