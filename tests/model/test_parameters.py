"""Pyro's parameter store: looking leaves it alone, and a second model is trained like a first."""

import copy
import pickle

import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI
from pyro.optim import Adam

from air.cli.compose import compose_config
from air.data.scenes import Scenes
from air.evaluation.bound import log_weights
from air.evaluation.held_out import evaluate
from air.inference.marginal import MarginalELBO
from air.model.presence import default_z_pres_prior_p
from air.pictures.prior_samples import sample_scenes
from air.training.run import train
from tests.helpers.models import tiny

IMAGES = torch.rand(8, 6, 6)


def svi_of(air):
    return SVI(air.model, air.guide, Adam({"lr": 0.05}), MarginalELBO())


def moves(air, svi):
    """Return whether a step changes the guide and the decoder."""
    before = copy.deepcopy(air.state_dict())
    svi.step(IMAGES, batch_size=4)
    return all(
        not torch.equal(before[name], air.state_dict()[name])
        for name in (
            "guide.attention.predict.mlp.layers.0.weight",
            "model.decode.mlp.layers.0.weight",
            "guide.z_what_init",
        )
    )


LOOKS = {
    "infer": lambda air: air.infer(IMAGES),
    "infer, drawing": lambda air: air.infer(IMAGES, 4, sample=True),
    "the guide itself": lambda air: air.guide(IMAGES),
    "prior": lambda air: air.prior(3),
    "evaluation": lambda air: evaluate(
        air, Scenes(IMAGES, None, None, None), default_z_pres_prior_p
    ),
    "bound": lambda air: log_weights(air, IMAGES[0], 5, default_z_pres_prior_p),
    "samples": lambda air: sample_scenes(air, 2, 3, seed=0),
}


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_looking_leaves_the_store_as_it_was(look):
    look(tiny())
    assert list(pyro.get_param_store()) == []
    trained = tiny()
    svi = svi_of(trained)
    assert moves(trained, svi)
    before = dict(pyro.get_param_store())
    look(tiny())  # another model, of the same names
    after = pyro.get_param_store()
    assert before.keys() == after.keys()
    assert all(after[name] is value for name, value in before.items())
    assert moves(trained, svi)


def test_training_leaves_the_store_as_it_was(data_root, tmp_path):
    earlier = tiny()
    assert moves(earlier, svi_of(earlier))
    before = dict(pyro.get_param_store())
    overrides = ["experiment=smoke", f"data.root={data_root}", "train.step=eager"]
    overrides += ["train.num_iterations=2", "train.num_pictures=0"]
    for number in range(2):  # as the jobs of a sweep follow one another
        train(compose_config(overrides), tmp_path / str(number), [])
    assert before.keys() == pyro.get_param_store().keys()
    assert moves(earlier, svi_of(earlier))


def test_a_second_model_is_trained_and_said_to_take_the_names():
    first, second = tiny(), tiny()
    steps = svi_of(first), svi_of(second)
    assert moves(first, steps[0])
    kept = copy.deepcopy(first.state_dict())
    with pytest.warns(UserWarning, match=r"earlier model's .*pyro\.clear_param_store\(\)"):
        assert moves(second, steps[1])
    assert all(torch.equal(value, kept[name]) for name, value in first.state_dict().items())
    with pytest.warns(UserWarning, match="an earlier model's"):
        assert moves(first, steps[0])  # taking turns, too
    pyro.clear_param_store()
    assert moves(second, steps[1])


@pytest.mark.parametrize("known", [False, True])
def test_what_a_handler_puts_in_a_parameters_place_is_left_to_it(known):
    air = tiny()
    if known:
        poutine.trace(air.guide).get_trace(IMAGES)
    other = torch.zeros(3)
    replaced = poutine.substitute(air.guide, data={"z_where_init": other})
    assert poutine.trace(replaced).get_trace(IMAGES).nodes["z_where_init"]["value"] is other
    stored = dict(pyro.get_param_store())
    assert stored.get("z_where_init") is (air.guide.z_where_init if known else None)


def test_frozen_parameters_are_not_trained():
    air = tiny()
    air.decode.requires_grad_(False)
    svi_of(air).step(IMAGES)
    assert not [name for name in pyro.get_param_store() if name.startswith("decode")]


USES = {"infer": lambda air: air.infer(IMAGES), "SVI": lambda air: moves(air, svi_of(air))}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_model_that_was_used_can_be_pickled_and_trained_further(use, tmp_path):
    air = tiny()
    use(air)
    air.compile()  # which no pickle takes either, and which nn.Module leaves out
    again = pickle.loads(pickle.dumps(air))
    torch.save(air, tmp_path / "whole.pt")
    saved = torch.load(tmp_path / "whole.pt", weights_only=False)
    for other in (again, saved, copy.deepcopy(air)):
        assert torch.equal(other.infer(IMAGES).z_where, air.infer(IMAGES).z_where)
        pyro.clear_param_store()
        assert moves(other, svi_of(other))
    pyro.clear_param_store()
    assert moves(air, svi_of(air))
