"""The difference attention: it sees what is left, and no gradient passes through that."""

import torch
from pyro import poutine

import air
from air.cli.compose import compose_config
from air.model.config import DifferenceConfig
from air.model.images import planes
from air.training.run import train
from tests.helpers.models import tiny


def difference(**arguments):
    return tiny(attention=DifferenceConfig("difference"), **arguments)


def views_of(model, images, objects):
    """Return what the guide crops windows from at each step, if it finds some objects."""
    views = []
    model.guide.attention.register_forward_hook(lambda _, __, out: views.append(out[0].view))
    values = {}
    for t in range(objects.z_pres.shape[1]):
        values[f"z_pres_{t}"] = objects.z_pres[:, t : t + 1]
        values[f"z_where_{t}"] = objects.z_where[:, t]
        values[f"z_what_{t}"] = objects.z_what[:, t]
    poutine.condition(model.guide, values)(images)
    return views


def test_it_sees_the_image_less_the_objects_so_far():
    model, images = difference(num_steps=3), torch.rand(4, 6, 6)
    objects, _ = model.model.draw(4, lambda t: 1.0)
    count = torch.tensor([0, 1, 2, 3]).unsqueeze(-1)
    objects = objects._replace(z_pres=(torch.arange(3) < count).float())
    views = views_of(model, images, objects)
    for t, view in enumerate(views):
        so_far = objects._replace(z_pres=objects.z_pres * (torch.arange(3) < t))
        torch.testing.assert_close(view, planes(images - model.model.render(so_far)))
    assert torch.equal(views[2][0, 0], images[0])  # what is absent leaves all there is


def test_of_a_dream_nothing_is_left():
    model = difference(num_steps=3)
    objects, _ = model.model.draw(5, lambda t: 1.0)
    objects = objects._replace(z_pres=torch.tensor([[1.0, 1.0, 0.0]]).expand(5, -1))
    *_, last = views_of(model, model.model.render(objects), objects)
    torch.testing.assert_close(last, torch.zeros(5, 1, 6, 6))


def test_what_it_proposes_depends_on_what_is_left_alone():
    """Two images of which the first object leaves the same: the second look is at the same."""
    model = difference()
    with torch.no_grad():  # the state forgets, so that what was seen before does not matter
        hidden = model.guide.attention.recurrent.rnn.c_init.numel()
        rnn = model.guide.attention.recurrent.rnn
        rnn.from_latents.weight.zero_()
        rnn.from_embedding[:, hidden : 2 * hidden] = 0.0
        rnn.from_latents.bias[hidden : 2 * hidden] = -1000.0
    objects, _ = model.model.draw(2, lambda t: 1.0)
    left = torch.rand(1, 6, 6)
    first = objects._replace(z_pres=torch.tensor([[1.0, 0.0]]).expand(2, -1))
    images = left + model.model.render(first)
    looks = []
    model.guide.attention.register_forward_hook(lambda _, __, out: looks.append(out[0]))
    views_of(model, images, objects)
    torch.testing.assert_close(looks[1].z_where_loc[0], looks[1].z_where_loc[1])
    assert not torch.allclose(looks[0].z_where_loc[0], looks[0].z_where_loc[1])


def test_it_looks_for_more_objects_than_it_has_steps():
    found = difference().infer(torch.rand(3, 6, 6), 5)
    assert found.boxes.shape == (3, 5, 4)


def test_a_run_is_trained_and_opened(data_root, tmp_path):
    overrides = ("experiment=smoke", "attention=difference", f"data.root={data_root}")
    train(compose_config((*overrides, "train.num_iterations=3")), tmp_path / "run", [])
    model = air.load(tmp_path / "run")
    assert type(model.guide.attention).__name__ == "DifferenceAttention"
    assert model.infer(torch.rand(2, 50, 50)).count.shape == (2,)
