"""The map attention: where it looks, what it takes, and what it judges a place by."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from air.cli.compose import compose_config
from air.errors import ConfigError
from air.model.canvas import ObjectLatents
from air.model.config import MapConfig
from tests.helpers.any_size import CORNERS, SPOT, any_size, scenes
from tests.helpers.models import tiny


def map_air(channels=(3, 4), cell_size=2, **arguments):
    attention = MapConfig("map", cell_size, list(channels), [5], 0.4)
    torch.manual_seed(1)
    return tiny(attention=attention, **arguments).double()


def test_each_step_looks_at_another_object_the_brightest_first():
    air, images = any_size(), scenes()
    spots = torch.stack([images[:, r : r + SPOT, c : c + SPOT].sum((-1, -2)) for r, c in CORNERS])
    centres = torch.tensor(CORNERS)[spots.argsort(0, descending=True)] + SPOT / 2  # (3, n, 2)
    boxes = air.infer(images, 3).boxes  # (n, 3, 4): x0 y0 x1 y1
    found = torch.stack((boxes[..., 1] + boxes[..., 3], boxes[..., 0] + boxes[..., 2]), -1) / 2
    torch.testing.assert_close(found.transpose(0, 1), centres.double(), rtol=0, atol=0.5)


@settings(deadline=None, max_examples=25)
@given(
    scale=st.floats(1, 6),
    x=st.floats(-1, 1),
    y=st.floats(-1, 1),
    place=st.integers(0, 9),
    reach=st.tuples(*[st.floats(-1.5, 1.5)] * 3),
)
def test_a_window_takes_what_is_near_its_centre(scale, x, y, place, reach):
    """As much as a Gaussian bump does whose precision is L L' for a lower triangular L."""
    attention = map_air().guide.attention
    centres = torch.linspace(-1, 1, 10, dtype=torch.float64)
    z_where = torch.tensor([[scale, -scale * x, -scale * y]], dtype=torch.float64)
    present = torch.ones(1, 1, dtype=torch.float64)
    shape = torch.tensor([reach], dtype=torch.float64)
    taken = attention.taken_by(ObjectLatents(present, z_where, present), shape, centres)
    width = 0.4 * 2 / scale  # of 2 / scale, a window's width in these coordinates
    a, b, c = shape[0]
    triangle = torch.stack((torch.stack((a.exp(), b)), torch.stack((0 * c, c.exp())))) / width
    offset = torch.stack(((centres[place] - x).expand(10), centres - y), -1)  # (10, 2)
    squared = (offset @ (triangle @ triangle.mT) * offset).sum(-1)
    torch.testing.assert_close(taken[0, :, place], (-squared / 2).exp())
    nothing = attention.taken_by(ObjectLatents(0 * present, z_where, present), shape, centres)
    assert not nothing.any()


def test_a_place_is_judged_by_its_surroundings_alone():
    """With two 3 x 3 convolutions these are two cells on each side."""
    air = map_air(x_size=40)
    images, changed = torch.rand(2, 1, 1, 40, 40).double()
    changed[..., :20] = images[..., :20]  # the left half: cells 0 to 9
    score, other = (
        air.guide.attention.start(each, None, air.model.render).known[..., -1].view(20, 20)
        for each in (images, changed)
    )
    torch.testing.assert_close(score[:, :8], other[:, :8])
    assert not torch.isclose(score[:, 9:], other[:, 9:]).any()


def test_the_last_cells_may_reach_beyond_the_image():
    air = map_air(x_size=7, cell_size=4)
    state = air.guide.attention.start(torch.rand(2, 1, 7, 7).double(), None, air.model.render)
    assert state.taken.shape == (2, 2, 2)
    expected = torch.tensor([2.0, 6.0], dtype=torch.float64) * 2 / 7 - 1
    torch.testing.assert_close(state.centres, expected)


def test_it_starts_with_places_that_differ():
    """Layers as they are by default would let the signal of deep maps fade."""
    air = map_air(channels=(24,) * 6, cell_size=4, x_size=40)
    images = torch.rand(4, 1, 40, 40).double()
    score = air.guide.attention.start(images, None, air.model.render).known[..., -1]
    assert score.std() > 0.1


def test_at_first_windows_lie_on_their_places():
    """However large the map: a window that is sure of a wrong place would be hard to teach."""
    air = map_air(channels=(64,) * 3, cell_size=4, x_size=40)
    attention, images = air.guide.attention, torch.rand(8, 1, 40, 40).double()
    state = attention.start(images, None, air.model.render)
    nothing = ObjectLatents(*(torch.ones(1, size, dtype=torch.float64) for size in (1, 3, 2)))
    look, _ = attention(state, nothing)
    mean, sd = air.model.z_where_prior.moments(40)
    torch.testing.assert_close(look.z_where_loc[:, 0], mean[0].expand(8))
    centre = -look.z_where_loc[:, 1:] / mean[0]  # x and y
    best = state.known[..., -1].argmax(-1)
    place = state.centres[torch.stack((best % 10, best // 10), -1)]
    assert ((centre - place).abs() <= 4 * 2 / 40).all()  # its neighbours have a say
    assert (look.z_where_scale > 0.3 * sd).all()


def test_a_wrong_value_is_refused():
    for override, message in (
        ("attention.channels=[]", "attention.channels: "),
        ("attention.cell_size=0", "attention.cell_size: "),
        ("attention.inhibition_width=0", "attention.inhibition_width: "),
    ):
        with pytest.raises(ConfigError, match=message):
            compose_config(("attention=map", override))
