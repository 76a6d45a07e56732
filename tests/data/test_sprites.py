"""Sprites: shapes that cover one another are as their truth says, and none is nearly hidden."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from air.cli.compose import compose_config
from air.config.parsing import parse_config
from air.data.drawing import draw_data, draw_scenes
from air.data.sprites import LABELS, MIN_CONTRAST
from air.errors import ConfigError, DataError
from tests.helpers.options import composed

SPRITES = compose_config(["data=sprites"]).data
AREAS = {  # in squares of the radius of the circle around the shape
    "disc": math.pi,
    "square": 2,
    "triangle": 0.75 * 3**0.5,
    "bar": 4 * 0.94 * 0.34,
    "ring": 0.75 * math.pi,
    "cross": 4 * (2 * 0.95 * 0.3 - 0.3**2),
}


def drawn(config, num=40, seed=0):
    return draw_scenes(config.painters()[0], config, num, seed, with_masks=True)


def inner(mask):
    """Return the pixels of a mask that have no others within 2 pixels, where edges are mixed."""
    others = F.pad((~mask).float(), (2, 2, 2, 2), value=1.0)  # shapes may touch the canvas's edge
    return F.max_pool2d(others[None], 5, stride=1)[0] == 0


def the_colour(image, where):
    """Return the one colour of some pixels, or None if there are none."""
    colours = image[where].unique(dim=0)
    assert len(colours) <= 1
    return colours[0].long() if len(colours) else None


def check_truth(scenes, config):
    size = config.canvas_size
    shape = (len(scenes), size, size)
    assert scenes.images.dtype == scenes.masks.dtype == torch.uint8
    assert scenes.images.shape == (*shape, 3) if config.colour else shape
    assert scenes.masks.shape == shape
    present = torch.arange(config.max_objects) < scenes.count[:, None]
    assert torch.equal(scenes.labels >= 0, present)
    assert {LABELS[label] for label in scenes.labels[present].tolist()} <= set(config.kinds)
    assert torch.equal(~scenes.boxes.isnan().any(-1), present)
    assert torch.equal(scenes.boxes.isnan().all(-1), ~present)
    sides = (scenes.boxes[..., 2:] - scenes.boxes[..., :2])[present]
    assert ((sides > 0) & (sides <= config.max_size + 1)).all()

    for image, mask, boxes, count in zip(
        scenes.images, scenes.masks, scenes.boxes, scenes.count.tolist(), strict=True
    ):
        assert set(mask.unique().tolist()) - {0} == set(range(1, count + 1))  # each can be seen
        ground = the_colour(image, inner(mask == 0))
        if config.background != "plain" and ground is not None:
            assert (ground == {"black": 0, "white": 255}[config.background]).all()
        for n in range(count):
            y, x = (mask == n + 1).nonzero(as_tuple=True)
            x0, y0, x1, y1 = boxes[n].tolist()
            extent = (x.min().item(), y.min().item(), x.max().item() + 1, y.max().item() + 1)
            assert (x0, y0) <= extent[:2]
            assert x0 <= extent[0] < extent[2] <= x1
            assert y0 <= extent[1] < extent[3] <= y1
            if count == 1:
                assert extent == (x0, y0, x1, y1)
            colour = the_colour(image, inner(mask == n + 1))
            if colour is not None and ground is not None:
                assert (colour - ground).abs().double().mean() >= MIN_CONTRAST


@settings(max_examples=15, deadline=None, database=None)
@given(
    canvas_size=st.integers(28, 64),
    sizes=st.tuples(st.floats(6, 20), st.floats(6, 20)).map(sorted),
    counts=st.tuples(st.integers(0, 2), st.integers(1, 3)).map(sorted),
    kinds=st.lists(st.sampled_from(LABELS), min_size=1, max_size=3).map(tuple),
    min_visible=st.floats(0.1, 0.9),
    colour=st.booleans(),
    background=st.sampled_from(["plain", "black", "white"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_settings_give_true_scenes(sizes, counts, seed, **values):
    (low, high), (fewest, most) = sizes, counts
    config = replace(
        SPRITES, min_size=low, max_size=high, min_objects=fewest, max_objects=most, **values
    )
    check_truth(drawn(config, 15, seed), config)


@pytest.mark.parametrize("kind", LABELS)
@pytest.mark.parametrize("colour", [True, False])
def test_a_shape_is_as_large_as_its_formula(kind, colour):
    config = replace(
        SPRITES, kinds=(kind,), min_size=20.0, max_size=20.0, min_objects=1, max_objects=1
    )
    scenes = drawn(replace(config, colour=colour), 50)
    assert (scenes.labels == LABELS.index(kind)).all()
    # Each edge passes through some 60 pixels, half of which count: 1 % of the area, over scenes.
    assert (scenes.masks > 0).sum((1, 2)).double().mean() == pytest.approx(
        AREAS[kind] * 10**2, rel=0.02
    )
    check_truth(scenes, config if colour else replace(config, colour=False))


@pytest.mark.parametrize("min_visible", [0.2, 0.5, 0.8, 1.0])
def test_enough_of_each_shape_can_be_seen(min_visible):
    config = replace(
        SPRITES,
        kinds=("disc",),
        min_size=16.0,
        max_size=20.0,
        min_objects=3,
        max_objects=3,
        min_visible=min_visible,
        canvas_size=48,
    )
    scenes = drawn(config, 200)
    seen = torch.stack([(scenes.masks == n).sum((1, 2)) for n in (1, 2, 3)], 1)
    diameters = (scenes.boxes[..., 2:] - scenes.boxes[..., :2]).mean(-1)
    shares = seen / (math.pi / 4 * diameters**2)  # a box is a pixel off at most: 6 % of the area
    assert shares.min() > min_visible - 0.13
    if min_visible < 1:
        assert shares.min() < min_visible + 0.13  # some are hidden as far as they may be


def test_objects_are_as_many_as_the_weights_say():
    config = replace(SPRITES, max_objects=3, held_out_counts=(1,), count_weights=(1, 5, 2, 1))
    shares = drawn(config, 2000).count.bincount(minlength=4) / 2000
    # ± 5 standard deviations of a binomial, though full scenes are drawn again far more often
    torch.testing.assert_close(shares, torch.tensor([0.25, 0, 0.5, 0.25]), rtol=0, atol=0.056)


def test_a_seed_says_it_all():
    config = replace(SPRITES, num_train=60, num_test=30)
    scenes = drawn(config)
    for name in ("images", "count", "labels", "boxes", "masks"):
        np.testing.assert_array_equal(getattr(drawn(config), name), getattr(scenes, name))
    assert not torch.equal(drawn(config, seed=1).images, scenes.images)
    data = draw_data(*config.painters(), config)
    assert not torch.equal(data.train.images[:30], data.test.images)
    larger = replace(config, num_test=50)
    other = draw_data(*larger.painters(), larger)
    assert torch.equal(other.train.images, data.train.images)


@pytest.mark.parametrize("colour", [True, False])
def test_scenes_are_kept_on_disk(tmp_path, caplog, colour):
    config = replace(SPRITES, num_train=60, num_test=30, colour=colour, root=str(tmp_path))
    with caplog.at_level("INFO"):
        drawn, read = config.build(), config.build()
    assert [record.message.split()[0] for record in caplog.records] == ["drew", "loaded"]
    assert drawn.train.num_channels == config.num_channels == (3 if colour else 1)
    for part in ("train", "test"):
        for name in ("images", "count", "labels", "boxes"):
            one, other = (getattr(getattr(data, part), name) for data in (drawn, read))
            np.testing.assert_array_equal(one, other)
    assert torch.equal(drawn.test.masks, read.test.masks)


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("data.min_size=30", "data.min_size: must be at most data.max_size=24.0, got 30.0"),
        ("data.max_size=70", "data.max_size: must be at most data.canvas_size=64, got 70.0"),
        ("data.min_size=2", "data.min_size: must be"),
        ("data.min_visible=0", "data.min_visible: must be"),
        ("data.kinds=[]", "data.kinds: must"),
        ("data.kinds=[blob]", "data.kinds"),
        ("data.background=grid", "data.background: must be 'black', 'white'"),
        ("data.min_objects=9", "data.min_objects: must be at most data.max_objects=4, got 9"),
    ],
)
def test_a_wrong_value_is_one_clear_error(override, line):
    with pytest.raises(ConfigError) as e:
        parse_config(composed("data=sprites", override))
    assert str(e.value).startswith(line)
    assert "\n" not in str(e.value)


def test_shapes_that_do_not_fit_are_one_clear_error(monkeypatch):
    monkeypatch.setattr("air.data.drawing.MIN_DRAWN", 1000)  # fail sooner
    config = replace(SPRITES, canvas_size=26, max_objects=5, min_visible=0.9)
    with pytest.raises(DataError, match=r"^data\.max_objects=5 .*or data\.min_visible$") as e:
        drawn(config, 100)
    assert "\n" not in str(e.value)
