"""What every attention must do: learn by each estimator and from dreams, recorded or not."""

import pyro
import pytest
import torch

from air.acceleration.recording import RecordedGradients
from air.inference.marginal import MarginalELBO
from air.inference.objective import Objective
from air.inference.reinforce import ReinforceELBO
from air.inference.sleep import SleepPhase
from air.model.config import DifferenceConfig, MapConfig, RecurrentConfig
from tests.helpers.compiler import needs_a_compiler
from tests.helpers.gradients import along_the_gradient
from tests.helpers.models import tiny

RECURRENT, DIFFERENCE = RecurrentConfig("recurrent"), DifferenceConfig("difference")
MAP = MapConfig("map", cell_size=2, channels=[5, 5], presence_net=[4], inhibition_width=0.4)
KINDS = [pytest.param(kind, id=kind.kind) for kind in (RECURRENT, DIFFERENCE, MAP)]


@pytest.mark.parametrize("kind", KINDS)
def test_dreams_teach_the_guide_alone(kind):
    model = tiny(attention=kind, num_steps=3)
    term = SleepPhase(weight=1.0, batch_size=16)
    images = torch.rand(4, 6, 6)
    estimate = MarginalELBO().estimate(model.model, model.guide, images)
    term(model, images, estimate).backward()
    assert all(parameter.grad is None for parameter in model.model.parameters())
    # The score of a place has a gradient where it is among the best.
    assert all(parameter.grad.any() for parameter in model.guide.attention.parameters())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("estimator", [MarginalELBO, ReinforceELBO])
@pytest.mark.parametrize(
    "baseline", [{}, {"use_baselines": True}, {"use_baselines": True, "baseline_decay": 0.9}]
)
def test_every_estimator_trains_it(kind, estimator, baseline):
    model = tiny(attention=kind, **baseline)
    before = {name: value.clone() for name, value in model.guide.attention.named_parameters()}
    svi = pyro.infer.SVI(model.model, model.guide, pyro.optim.Adam({"lr": 0.1}), estimator())
    for _ in range(2):
        svi.step(torch.rand(8, 6, 6), batch_size=4)
    unchanged = [n for n, v in model.guide.attention.named_parameters() if v.equal(before[n])]
    assert unchanged == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "compiled",
    [False, pytest.param(True, marks=[pytest.mark.slow, needs_a_compiler])],  # half a minute
)
def test_a_recorded_step_is_the_eager_one(kind, compiled):
    model, batch = tiny(attention=kind), torch.rand(8, 6, 6) * (torch.rand(8, 6, 6) > 0.95)
    objective = Objective(MarginalELBO(), [SleepPhase(10.0, 8, codes="posterior", num_places=3)])
    probabilities = torch.full((2,), 0.4)
    with torch.random.fork_rng():
        estimate = objective(model, batch, probabilities)
        expected = torch.autograd.grad(estimate.loss, list(model.parameters()), allow_unused=True)
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
        (RECURRENT, 2, 1e-6),
        (DIFFERENCE, 1, 1e-6),
        (DIFFERENCE, 2, 0.05),
        (DIFFERENCE, 3, 0.05),
        (MAP, 1, 1e-6),
        (MAP, 2, 0.05),
        (MAP, 3, 0.05),
    ],
)
def test_the_gradients_bias_is_small_and_begins_with_the_second_step(kind, num_steps, tolerance):
    torch.manual_seed(1)
    length, slope = along_the_gradient(
        tiny(attention=kind, num_steps=num_steps).double(), torch.rand(4, 6, 6, dtype=torch.float64)
    )
    assert slope == pytest.approx(length, rel=tolerance)
