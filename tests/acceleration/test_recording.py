"""Played-back gradients against those of Pyro's handlers."""

import pyro
import pytest
import torch

from air.acceleration.recording import CudaGraphGradients, RecordedGradients
from air.cli.compose import compose_config
from air.inference.marginal import MarginalELBO
from air.inference.objective import Objective
from air.inference.reinforce import ReinforceELBO
from air.inference.sleep import SleepPhase
from air.model.config import MapConfig
from air.training.gradients import EagerGradients, build_gradients
from tests.helpers.gradients import PROBABILITIES, taken
from tests.helpers.models import tiny


def marginal():
    return Objective(MarginalELBO())


def reinforce():
    return Objective(ReinforceELBO())


def asleep():
    return Objective(
        MarginalELBO(), [SleepPhase(0.5, 3, max_objects=2, codes="posterior", num_places=3)]
    )


def variants():
    return [
        pytest.param(marginal, {}, id="marginal"),
        pytest.param(marginal, {"embed_channels": [2], "embed_net": [4]}, id="marginal-conv"),
        pytest.param(asleep, {}, id="marginal-sleep"),
        pytest.param(reinforce, {}, id="reinforce"),
        pytest.param(reinforce, {"use_masking": False}, id="reinforce-unmasked"),
        pytest.param(
            reinforce, {"use_baselines": True, "bl_predict_net": [3]}, id="reinforce-baseline"
        ),
    ]


def same(one, other):
    for (parts, grads), (other_parts, other_grads) in zip(one, other, strict=True):
        assert parts == other_parts
        for grad, other_grad in zip(grads, other_grads, strict=True):
            if grad is None or other_grad is None:
                assert grad is None
                assert other_grad is None
            else:
                assert torch.equal(grad, other_grad)


@pytest.mark.parametrize(("objective", "arguments"), variants())
def test_playing_back_equals_running_the_handlers(objective, arguments):
    model = tiny(**arguments)
    batches = torch.rand(3, 5, 6, 6)
    recorded = RecordedGradients(objective(), model)
    played, after = taken(recorded, model, batches)
    run, after_run = taken(EagerGradients(objective(), model), model, batches)
    same(played, run)
    assert after == after_run  # as many random numbers, and none for the recording itself


def test_gradients_lie_in_memory_as_their_parameters_do():
    """The fused Adam would take one weight's gradient for another's."""
    model = tiny(attention=MapConfig("map", 2, [3, 4], [5], 0.3))
    recorded = RecordedGradients(marginal(), model)
    recorded(torch.rand(4, 6, 6), torch.full((model.num_steps,), 0.5))
    for parameter in model.parameters():
        if parameter.grad is not None:
            assert parameter.grad.stride() == parameter.stride()


def test_new_weights_and_another_prior_reach_the_recording():
    model = tiny()
    batches = torch.rand(1, 4, 6, 6)
    recorded = RecordedGradients(marginal(), model)
    taken(recorded, model, batches)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    other = torch.tensor([0.1, 0.9], dtype=torch.float64)
    played, _ = taken(recorded, model, batches, 3, other)
    run, _ = taken(EagerGradients(marginal(), model), model, batches, 3, other)
    same(played, run)


def test_a_batch_of_another_size_is_recorded_anew():
    model = tiny()
    recorded = RecordedGradients(marginal(), model)
    batches = [torch.rand(n, 6, 6) for n in (4, 2, 4)]
    played, _ = taken(recorded, model, batches)
    run, _ = taken(EagerGradients(marginal(), model), model, batches)
    same(played, run)


def test_recording_under_validation_is_the_same():
    model = tiny()
    batches = torch.rand(1, 4, 6, 6)
    with pyro.validation_enabled(True):
        played, _ = taken(RecordedGradients(marginal(), model), model, batches)
    run, _ = taken(EagerGradients(marginal(), model), model, batches)
    same(played, run)


def test_the_setting_and_the_baseline_choose_the_kind():
    average = ("inference=reinforce", "baseline=moving_average")
    for overrides, kind in (
        (["train.step=eager"], EagerGradients),
        (["train.step=recorded"], RecordedGradients),
        (["train.step=compiled"], RecordedGradients),
        (["train.step=recorded", *average], EagerGradients),
    ):
        config = compose_config(overrides)
        gradients = build_gradients(config, marginal(), tiny(), torch.ones(1, 6, 6))
        assert type(gradients) is kind
        if kind is RecordedGradients:
            assert gradients.compiled is (config.train.step == "compiled")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_cuda_graph_equals_playing_back():
    model = tiny().cuda()
    batches = torch.rand(3, 5, 6, 6, device="cuda")
    probabilities = PROBABILITIES.cuda()
    graph, _ = taken(
        CudaGraphGradients(RecordedGradients(marginal(), model)),
        model,
        batches,
        probabilities=probabilities,
    )
    run, _ = taken(EagerGradients(marginal(), model), model, batches, probabilities=probabilities)
    for (parts, grads), (other_parts, other_grads) in zip(graph, run, strict=True):
        assert parts == pytest.approx(other_parts, rel=1e-4)
        for grad, other in zip(grads, other_grads, strict=True):
            assert torch.allclose(grad, other, rtol=1e-3, atol=1e-5)
