"""Where the objects of dreams lie."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from air.inference.arrangement import arranged, beside
from air.inference.sleep import SleepPhase
from tests.helpers.models import tiny


def bright(**arguments):
    """A model of three small objects, any two of which add up to more than 1 where they meet."""
    small = {"x_size": 36, "scale_prior_mean": 6.0, "scale_prior_sd": 0.1, "pos_prior_sd": 2.0}
    return tiny(**{"num_steps": 3, "decoder_output_bias": 4.0, **small, **arguments})


def scenes_of(air, present, n=500):
    objects = air.model.draw(n, lambda t: 0.5).objects
    return objects._replace(z_pres=torch.tensor(present).expand(n, -1))


def excess(air, objects):
    """What the canvas of each scene has above 1, in pixels."""
    return (air.model.render(objects) - 1).relu().sum((-1, -2))


def test_with_one_place_objects_stay_where_they_are():
    air = bright()
    objects, state = scenes_of(air, [1.0, 1.0, 1.0]), torch.get_rng_state()
    assert torch.equal(arranged(air.model, objects, 1, 0.0), objects.z_where)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("bias", "present"),
    [(-100.0, [1.0, 1.0, 1.0]), (4.0, [0.0, 0.0, 0.0]), (4.0, [1.0, 0.0, 0.0])],
    ids=["dark", "absent", "alone"],
)
def test_what_cannot_collide_stays_where_it_is(bias, present):
    air = bright(decoder_output_bias=bias)
    objects = scenes_of(air, present)
    assert torch.equal(arranged(air.model, objects, 4, 0.0), objects.z_where)


def test_each_place_is_one_of_the_priors_draws():
    air = bright()
    objects = scenes_of(air, [1.0, 1.0, 1.0])
    torch.manual_seed(1)
    places = arranged(air.model, objects, 4, 0.0)
    torch.manual_seed(1)
    mean, sd = air.model.z_where_prior.moments()
    others = mean + sd * torch.randn(3, *places.shape)
    tried = torch.cat((objects.z_where.unsqueeze(0), others))
    assert ((places == tried).all(-1).sum(0) == 1).all()
    assert torch.equal(places[:, 0], objects.z_where[:, 0])  # the first has all the room
    moved = (places != objects.z_where).any(-1).double().mean(0)  # of 500 scenes
    assert 0.05 < moved[1] < moved[2]  # there is less room for the third


def test_objects_of_dreams_do_not_pile_up():
    air, piled = bright(), {}
    for num_places in (1, 4):
        torch.manual_seed(0)  # the same counts, and the same places first
        dreams = SleepPhase(1.0, 500, num_places=num_places).dream(air, torch.empty(0, 36, 36))
        piled[num_places] = excess(air, dreams.objects)
        rendered = air.model.render(dreams.objects).clamp(0, 1)
        torch.testing.assert_close(dreams.images, rendered)
    assert (piled[1] > 0).double().mean() > 0.15  # of 500 scenes: about 0.20 ± 0.02
    assert piled[4].mean() < 0.1 * piled[1].mean()
    assert (piled[4] == 0).double().mean() > 0.92  # 0.96 ± 0.01


def test_objects_that_are_absent_take_no_room():
    air = bright()
    objects = scenes_of(air, [1.0, 0.0, 1.0])
    elsewhere = objects.z_where.clone()
    elsewhere[:, 1] = elsewhere[:, 2]  # where the third is tried first
    found = []
    for z_where in (objects.z_where, elsewhere):
        torch.manual_seed(1)
        found.append(arranged(air.model, objects._replace(z_where=z_where), 4, 0.0))
    assert torch.equal(found[0][:, [0, 2]], found[1][:, [0, 2]])


@settings(deadline=None, max_examples=25)
@given(scale=st.floats(1, 8), num_windows=st.integers(1, 3), seed=st.integers(0, 99))
def test_what_is_beside_a_window_is_near_it_and_in_the_image(scale, num_windows, seed):
    torch.manual_seed(seed)
    windows = torch.tensor([4.0, 0.0, 0.0]) + torch.randn(num_windows, 5, 3)
    windows = windows.double().clamp(min=-2)
    places = torch.tensor([scale, 0.3, -0.2], dtype=torch.float64).expand(2, 5, 3)
    found = beside(windows, places)
    assert torch.equal(found[..., 0], places[..., 0])
    centres = -found[..., 1:] / found[..., :1]  # (2, 5, 2)
    assert (centres.abs() <= 1 - 1 / scale + 1e-9).all()
    near = -windows[..., 1:] / windows[..., :1]  # (num_windows, 5, 2)
    farthest = 0.9 * 2 / windows[..., 0].abs()
    # Moving into the image brings no coordinate further than the window's own centre is outside.
    outside = (near.abs() - (1 - 1 / scale)).clamp(min=0).norm(dim=-1)
    distance = (centres.unsqueeze(1) - near).norm(dim=-1)
    assert (distance <= farthest + outside + 1e-9).any(1).all()


def test_a_share_of_objects_touches_another():
    air = bright(x_size=60, scale_prior_mean=8.0)
    objects = scenes_of(air, [1.0, 1.0, 1.0])
    torch.manual_seed(1)
    width = 2 / 8.0
    shares = []
    for touching in (0.0, 0.5, 1.0):
        z_where = arranged(air.model, objects, 4, touching)
        centres = -z_where[..., 1:] / z_where[..., :1]
        apart = (centres.unsqueeze(1) - centres.unsqueeze(2)).norm(dim=-1)  # (n, 3, 3)
        near = (apart < 0.95 * width).tril(-1).any(-1)[:, 1:]  # to one before it
        shares.append(near.double().mean())
    alone, half, all_of_them = shares
    assert all_of_them > 0.98
    torch.testing.assert_close(half, (alone + all_of_them) / 2, atol=0.05, rtol=0)
