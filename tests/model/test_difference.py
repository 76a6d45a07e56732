"""The difference attention: it sees what is left, and no gradient passes through that."""

import pyro
import pytest
import torch
from pyro import poutine

import air
from air.acceleration.recording import RecordedGradients
from air.cli.compose import compose_config
from air.inference.marginal import MarginalELBO
from air.inference.objective import Objective
from air.inference.reinforce import ReinforceELBO
from air.inference.search import CountSearch
from air.inference.sleep import SleepPhase
from air.model.config import DifferenceConfig, RecurrentConfig
from air.training.run import train
from tests.helpers.compiler import needs_a_compiler
from tests.helpers.models import tiny


def difference(**arguments):
    return tiny(attention=DifferenceConfig("difference"), **arguments)


def views_of(model, images, objects):
    """Return what the guide crops windows from at each step, if it finds some objects."""
    views = []
    model.guide.attention.register_forward_hook(lambda _, __, out: views.append(out[0].view))
    values = {
        f"{name}_{t}": value[:, t : t + 1] if name == "z_pres" else value[:, t]
        for name, value in objects._asdict().items()
        for t in range(value.shape[1])
    }
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
        torch.testing.assert_close(view, images - model.model.render(so_far))
    assert torch.equal(views[2][0], images[0])  # what is absent leaves all there is


def test_of_a_dream_nothing_is_left():
    model = difference(num_steps=3)
    objects, _ = model.model.draw(5, lambda t: 1.0)
    objects = objects._replace(z_pres=torch.tensor([[1.0, 1.0, 0.0]]).expand(5, -1))
    *_, last = views_of(model, model.model.render(objects), objects)
    torch.testing.assert_close(last, torch.zeros(5, 6, 6))


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


def test_dreams_teach_the_guide_alone():
    model = difference(num_steps=3)
    term = SleepPhase(weight=1.0, batch_size=16)
    images = torch.rand(4, 6, 6)
    estimate = MarginalELBO().estimate(model.model, model.guide, images)
    term(model, images, estimate).backward()
    assert all(parameter.grad is None for parameter in model.model.parameters())
    assert model.guide.attention.recurrent.predict.mlp.layers[0].weight.grad.any()


@pytest.mark.parametrize("estimator", [MarginalELBO, ReinforceELBO])
@pytest.mark.parametrize(
    "baseline", [{}, {"use_baselines": True}, {"use_baselines": True, "baseline_decay": 0.9}]
)
def test_every_estimator_trains_it(estimator, baseline):
    model = difference(**baseline)
    before = {name: value.clone() for name, value in model.guide.attention.named_parameters()}
    svi = pyro.infer.SVI(model.model, model.guide, pyro.optim.Adam({"lr": 0.1}), estimator())
    for _ in range(2):
        svi.step(torch.rand(8, 6, 6), batch_size=4)
    unchanged = [n for n, v in model.guide.attention.named_parameters() if v.equal(before[n])]
    assert unchanged == []


@pytest.mark.parametrize(
    "compiled",
    [False, pytest.param(True, marks=[pytest.mark.slow, needs_a_compiler])],  # half a minute
)
def test_a_recorded_step_is_the_eager_one(compiled):
    model, batch = difference(), torch.rand(8, 6, 6) * (torch.rand(8, 6, 6) > 0.95)
    terms = [SleepPhase(10.0, 8, codes="posterior"), CountSearch(1.0, 1, 1, 0.0)]
    objective = Objective(MarginalELBO(), terms)
    probabilities = torch.full((2,), 0.4)
    with torch.random.fork_rng():
        estimate = objective(model, batch, probabilities)
        expected = torch.autograd.grad(estimate.loss, list(model.parameters()))
    recorded = RecordedGradients(objective, model, batch, compiled)  # which skips black pixels
    assert recorded.skips_black
    with torch.random.fork_rng():
        metrics = recorded(batch, probabilities)
    torch.testing.assert_close(metrics["loss"], estimate.loss.detach())
    for parameter, gradient in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "num_steps", "tolerance"),
    [
        (RecurrentConfig("recurrent"), 2, 1e-6),
        (DifferenceConfig("difference"), 1, 1e-6),
        (DifferenceConfig("difference"), 2, 0.05),
        (DifferenceConfig("difference"), 3, 0.05),
    ],
)
def test_the_gradients_bias_is_small_and_begins_with_the_second_step(kind, num_steps, tolerance):
    """Along the gradient, the slope of the loss with the same noise is the gradient's length."""
    torch.manual_seed(1)
    model = tiny(attention=kind, num_steps=num_steps).double()
    images = torch.rand(4, 6, 6, dtype=torch.float64)
    parameters = list(model.parameters())

    def loss():
        torch.manual_seed(7)
        return MarginalELBO().estimate(model.model, model.guide, images).loss

    gradient = torch.autograd.grad(loss(), parameters)
    length = torch.cat([each.flatten() for each in gradient]).norm()
    slope, step = 0.0, 1e-6
    for sign in (1, -1):
        with torch.no_grad():
            moved = [sign * step * each / length for each in gradient]
            for parameter, by in zip(parameters, moved, strict=True):
                parameter += by
            slope += sign * loss().item() / (2 * step)
            for parameter, by in zip(parameters, moved, strict=True):
                parameter -= by
    assert slope == pytest.approx(length.item(), rel=tolerance)


def test_it_looks_for_more_objects_than_it_has_steps():
    found = difference().infer(torch.rand(3, 6, 6), 5)
    assert found.boxes.shape == (3, 5, 4)


def test_a_run_is_trained_and_opened(data_root, tmp_path):
    overrides = ("experiment=smoke", "attention=difference", f"data.root={data_root}")
    train(compose_config((*overrides, "train.num_iterations=3")), tmp_path / "run", [])
    model = air.load(tmp_path / "run")
    assert type(model.guide.attention).__name__ == "DifferenceAttention"
    assert model.infer(torch.rand(2, 50, 50)).count.shape == (2,)
