"""One type throughout: double trains and infers, half infers alone."""

import numpy as np
import pyro
import pytest
import torch
from pyro.infer import SVI, TraceGraph_ELBO
from pyro.optim import Adam

import air
from air.cli.compose import compose_config
from air.inference.marginal import MarginalELBO
from air.runs.checkpoint import read_latest
from air.training.run import train
from tests.helpers.models import tiny

HALVES = [torch.float16, torch.bfloat16]
NETWORKS = {"embed_channels": [3], "embed_net": [4]}


@pytest.fixture
def double_by_default():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def types(values):
    return {value.dtype for value in values if torch.is_tensor(value) and value.is_floating_point()}


@pytest.mark.parametrize("elbo", [TraceGraph_ELBO, MarginalELBO])
@pytest.mark.parametrize("images", [torch.rand(8, 6, 6), torch.rand(8, 6, 6).double()])
def test_double_trains_whatever_the_images_type(elbo, images):
    model = tiny(use_baselines=elbo is TraceGraph_ELBO, **NETWORKS).double()
    svi = SVI(model.model, model.guide, Adam({"lr": 0.01}), elbo())
    for _ in range(2):
        svi.step(images, batch_size=4)
    assert types(model.state_dict().values()) == {torch.float64}
    assert types(vars(model.infer(images)).values()) == {torch.float64}
    (z_where, _), canvas = model.prior(3)
    assert types([*z_where, canvas]) == {torch.float64}


def test_double_says_what_single_does():
    model, images = tiny(**NETWORKS), torch.rand(20, 6, 6)
    single = model.infer(images)
    double = model.double().infer(images)
    assert torch.equal(single.count, double.count)
    torch.testing.assert_close(single.boxes.double(), double.boxes, atol=1e-4, rtol=1e-4)


@pytest.mark.usefixtures("double_by_default")
def test_a_run_in_double_by_default_is_double_throughout(data_root, tmp_path):
    overrides = ["experiment=smoke", f"data.root={data_root}", "train.num_iterations=4"]
    overrides += [
        "train.num_pictures=0",
        "train.step=eager",
        "sleep.codes=posterior",
    ]
    train(compose_config(overrides), tmp_path / "run", [])
    checkpoint = read_latest(tmp_path / "run")[1]
    assert types(checkpoint.model.values()) == {torch.float64}
    moments = [state["exp_avg"] for state in checkpoint.optimizer["state"].values()]
    assert types(moments) == {torch.float64}
    torch.set_default_dtype(torch.float32)
    assert types(air.load(tmp_path / "run").parameters()) == {torch.float64}  # as it was trained


@pytest.mark.parametrize("dtype", HALVES)
def test_half_infers(dtype):
    model, images = tiny(**NETWORKS), torch.rand(50, 6, 6)
    single = model.infer(images)
    half = model.to(dtype).infer(images)
    assert (half.count == single.count).double().mean() > 0.9
    error = (half.boxes - single.boxes).abs().median()
    assert error < 0.1  # pixels
    torch.testing.assert_close(half.count_probs.sum(-1), torch.ones(50))
    assert model.infer((images * 255).byte(), 3, sample=True).reconstruction.dtype == dtype


def test_autocast_infers():
    model, images = tiny(**NETWORKS), torch.rand(50, 6, 6)
    single = model.infer(images)
    with torch.autocast("cpu", torch.bfloat16):
        half = model.infer(images)
    assert (half.count == single.count).double().mean() > 0.9


@pytest.mark.parametrize("elbo", [TraceGraph_ELBO, MarginalELBO])
@pytest.mark.parametrize("dtype", [*HALVES, "autocast"])
def test_half_is_refused_elsewhere(elbo, dtype):
    model = tiny()
    if dtype != "autocast":
        model.to(dtype)
    svi = SVI(model.model, model.guide, Adam({"lr": 0.01}), elbo())
    with (
        torch.autocast("cpu", torch.bfloat16, enabled=dtype == "autocast"),
        pyro.validation_enabled(False),
    ):
        for use in (lambda: svi.step(torch.rand(4, 6, 6)), lambda: model.prior(2)):
            with pytest.raises(TypeError, match=f"float32 or float64 .*got {dtype}") as caught:
                use()
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize("images", [np.zeros((2, 6, 6), np.uint8), np.zeros((2, 6, 6), int)])
def test_bytes_are_refused_by_the_programs(images):
    model = tiny()
    for program in (model.guide, model.model):
        with pytest.raises(TypeError, match=r"floats in \[0, 1\] or bool, got torch\."):
            program(torch.as_tensor(images))
