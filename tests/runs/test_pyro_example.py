"""Pyro's own `examples/air` on our AIR: its scripts, its calls, its weights.

With PYRO_CHECKOUT, the folder of a checkout of Pyro's repository, its files themselves are run.
"""

import importlib.util
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, JitTraceGraph_ELBO, TraceGraph_ELBO
from pyro.optim import Adam
from torch import nn

import air
from air import AIR
from air.errors import CheckpointError
from air.model.windows import image_to_window, window_to_image
from tests.helpers.repository import REPOSITORY

CHECKOUT = os.environ.get("PYRO_CHECKOUT")
needs_checkout = pytest.mark.skipif(CHECKOUT is None, reason="needs PYRO_CHECKOUT")
SIZES = {"x_size": 20, "window_size": 8, "z_what_size": 5, "rnn_hidden_size": 16}
NETS = {"encoder_net": [9], "decoder_net": [7], "predict_net": [6], "bl_predict_net": [4]}
SIGMOID = {"decoder_output_bias": -2.0, "decoder_output_use_sigmoid": True}


# --- its scripts ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """Run main.py of the checkout, with our package in the place of its neighbour air.py."""
    folder = tmp_path_factory.mktemp("example")
    for name in ("main.py", "viz.py"):
        (folder / name).write_bytes(Path(CHECKOUT, "examples", "air", name).read_bytes())
    (folder / "visdom.py").write_text(
        "class Visdom:\n    def __init__(self, env): pass\n    def images(self, *a, **k): pass\n"
    )
    random = np.random.default_rng(0)
    scenes = np.empty(1000, dtype=object)
    scenes[:] = [[1] * count for count in random.integers(0, 3, 1000)]
    (folder / ".data").mkdir()
    images = random.integers(0, 256, (1000, 50, 50), dtype=np.uint8)
    np.savez(folder / ".data" / "multi_mnist_uint8.npz", x=images, y=scenes)
    environment = {name: value for name, value in os.environ.items() if name != "CI"}

    def run(*options):
        # -O: main.py asserts one version of Pyro.
        command = [sys.executable, "-O", "main.py", "-n", "2", "--seed", "0", *options]
        return subprocess.run(
            command,
            cwd=folder,
            env={**environment, "PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
            timeout=240,
        )

    return run


OPTIONS = {
    "as it is": "--eval-every 2 -v",
    "no masking, no baselines": "--no-masking --no-baselines",
    "an embedding, an annealed prior": "--embed-net 30 20 --anneal-prior lin",
    "the tutorial's": "--predict-net 200 --bl-predict-net 200 --decoder-output-use-sigmoid "
    "--decoder-output-bias -2 --scale-prior-sd 0.2 --z-pres-prior 0.01 -blr 0.1",
    "jit": "--jit",
}


@needs_checkout
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_the_script_runs(example, options):
    result = example(*options.split())
    assert result.returncode == 0, result.stderr
    assert "i=2" in result.stdout
    if "--eval-every" in options:
        assert "i=2, accuracy=" in result.stdout


@needs_checkout
def test_the_script_saves_and_loads(example):
    assert "Saving" in example("--save", "kept.pt", "--save-every", "2").stdout
    result = example("--load", "kept.pt")
    assert result.returncode == 0, result.stderr
    assert "Loading parameters" in result.stdout


@needs_checkout
def test_the_script_draws_as_far_as_numpy_lets_it(example):
    result = example("--viz", "--viz-every", "2")
    if hasattr(np.ndarray, "tostring"):
        assert result.returncode == 0, result.stderr
    else:
        assert "no attribute 'tostring'" in result.stderr.splitlines()[-1]


# --- its calls ------------------------------------------------------------------------------------


def prior_p(step, t):
    return (0.9, 0.5, 0.1)[t]


@pytest.mark.filterwarnings("ignore:`torch.jit.trace` is deprecated:FutureWarning")
@pytest.mark.parametrize(
    ("arguments", "elbo"),
    [
        ({}, TraceGraph_ELBO),
        ({"use_masking": False, "use_baselines": False}, TraceGraph_ELBO),
        ({"embed_net": [9, 8], "baseline_scalar": 3.0}, TraceGraph_ELBO),
        ({}, partial(JitTraceGraph_ELBO, ignore_jit_warnings=True)),
    ],
)
def test_the_scripts_calls(arguments, elbo, tmp_path):
    model = AIR(num_steps=3, use_cuda=False, **SIZES, **NETS, **SIGMOID, **arguments)
    images = torch.rand(12, 20, 20)
    z, x = model.prior(5, z_pres_prior_p=partial(prior_p, 0))
    assert x.shape == (5, 20, 20)
    assert air.latents_to_tensor(z).shape == (5, 3, 4)

    adam = Adam(lambda name: {"lr": 0.1 if "bl_" in name else 0.01})
    svi = SVI(model.model, model.guide, adam, loss=elbo())
    before = {name: value.clone() for name, value in model.named_parameters()}
    svi.step(images, batch_size=4, z_pres_prior_p=partial(prior_p, 1))
    moved = {name: (p - before[name]).abs().max() for name, p in model.named_parameters()}
    rates = {name: 0.1 if name.startswith("guide.baseline.") else 0.01 for name in moved}
    assert all(moved[name] < 1.01 * rates[name] for name in moved)  # as Adam's first step is
    assert any(moved[name] > 0.02 for name in moved) == any(
        name.startswith("guide.baseline.") for name in moved
    )

    trace = poutine.trace(model.guide).get_trace(images[:5], None)
    z, reconstructions = poutine.replay(model.prior, trace=trace)(5)
    assert reconstructions.shape == (5, 20, 20)
    latents = air.latents_to_tensor(z)
    assert torch.equal(latents[:, 1, :3], trace.nodes["z_where_1"]["value"])
    assert torch.equal(latents[:, 1, 3:], trace.nodes["z_pres_1"]["value"])

    z_where, z_pres = model.guide(images, 12)
    assert air.latents_to_tensor((z_where, z_pres)).shape == (12, 3, 4)
    torch.save(model.state_dict(), tmp_path / "kept.pt")
    model.load_state_dict(torch.load(tmp_path / "kept.pt", weights_only=False))


def test_z_where_inv_undoes_a_transform():
    z_where = torch.tensor([[2.0, 0.3, -0.4], [3.0, -1.0, 0.5]])
    twice = air.z_where_inv(air.z_where_inv(z_where))
    torch.testing.assert_close(twice, z_where)
    # Placing a window is cropping with the inverse.
    windows = torch.rand(2, 8, 8)
    cropped = image_to_window(air.z_where_inv(z_where), windows, 20)
    torch.testing.assert_close(cropped, window_to_image(z_where, windows, 20))


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
def test_use_cuda_is_refused_where_there_is_none():
    with pytest.raises(ValueError, match="use_cuda: must be False on this machine"):
        AIR(use_cuda=True)


# --- its weights ----------------------------------------------------------------------------------


def mlp(in_size, *sizes):
    layers = []
    for one, other in zip((in_size, *sizes), sizes, strict=False):
        layers += [nn.Linear(one, other), nn.ReLU()]
    return nn.Sequential(*layers)


class TheirNetworks(nn.Module):
    """Networks with the names and shapes of the example's, and as it uses them."""

    def __init__(self, embed_net):
        super().__init__()
        in_size = (embed_net or [400])[-1] + 3 + 5 + 1
        self.z_where_loc_prior = nn.Parameter(torch.tensor([2.5, 0.1, 0.1]), requires_grad=False)
        self.z_where_scale_prior = nn.Parameter(torch.tensor([0.2, 0.9, 0.9]), requires_grad=False)
        for name, size in (("z_where", 3), ("z_what", 5)):
            setattr(self, f"{name}_init", nn.Parameter(torch.randn(1, size)))
        for prefix in ("", "bl_"):
            setattr(self, f"{prefix}rnn", nn.LSTMCell(in_size, 16))
            setattr(self, f"{prefix}embed", nn.Module())
            if embed_net:
                getattr(self, f"{prefix}embed").seq = mlp(400, *embed_net)
            for state in "hc":
                setattr(self, f"{prefix}{state}_init", nn.Parameter(torch.randn(1, 16)))
        for name, sizes in {
            "encode": (64, 9, 10),
            "decode": (5, 7, 64),
            "predict": (16, 6, 7),
        }.items():
            network = nn.Module()
            network.mlp = nn.Module()
            network.mlp.seq = mlp(*sizes)[:-1]
            setattr(self, name, network)
        self.bl_predict = nn.Module()
        self.bl_predict.seq = mlp(16, 4, 1)[:-1]

    def hidden(self, images, prefix=""):
        """h after the first step."""
        flat = images.flatten(1)
        embed = getattr(self, f"{prefix}embed")
        embedding = embed.seq(flat) if hasattr(embed, "seq") else flat
        n = len(images)
        latents = self.z_where_init.expand(n, -1), self.z_what_init.expand(n, -1)
        inputs = torch.cat((embedding, *latents, torch.ones(n, 1)), 1)
        state = tuple(getattr(self, f"{prefix}{name}_init").expand(n, -1) for name in "hc")
        return getattr(self, f"{prefix}rnn")(inputs, state)[0]


@pytest.mark.parametrize("embed_net", [None, [30, 20]])
def test_weights_give_the_same_networks(embed_net, tmp_path):
    theirs, file = TheirNetworks(embed_net), tmp_path / "theirs.pt"
    torch.save(theirs.state_dict(), file)
    model = air.load_pyro(file, num_steps=4, likelihood_sd=0.2, **SIGMOID)
    assert (model.num_steps, model.model.likelihood.sd) == (4, 0.2)
    told = {"embed_net": embed_net, **SIZES, **NETS, **SIGMOID}
    expected = AIR(num_steps=4, **told).state_dict()
    assert {name: value.shape for name, value in model.state_dict().items()} == {
        name: value.shape for name, value in expected.items()
    }
    torch.testing.assert_close(model.model.z_where_prior.mean, theirs.z_where_loc_prior.data)
    torch.testing.assert_close(model.model.z_where_prior.sd, theirs.z_where_scale_prior.data)

    images = torch.rand(6, 20, 20)
    nodes = poutine.trace(model.guide).get_trace(images).nodes
    out = theirs.predict.mlp.seq(theirs.hidden(images))
    logits = nodes["z_pres_0"]["fn"].base_dist.logits
    torch.testing.assert_close(logits, out[:, :1])
    where = nodes["z_where_0"]["fn"]
    torch.testing.assert_close(where.mean, out[:, 1:4] + theirs.z_where_loc_prior)
    sd = nn.functional.softplus(out[:, 4:]) * theirs.z_where_scale_prior
    torch.testing.assert_close(where.stddev, sd, atol=1e-5, rtol=1e-4)
    baseline = nodes["z_pres_0"]["infer"]["baseline"]["baseline_value"]
    predicted = theirs.bl_predict.seq(theirs.hidden(images, "bl_")).squeeze(-1)
    torch.testing.assert_close(baseline, predicted)

    window, code = torch.rand(3, 64), torch.randn(3, 5)
    loc, scale = model.encode(window)
    theirs_loc, raw = theirs.encode.mlp.seq(window).chunk(2, -1)
    torch.testing.assert_close(loc, theirs_loc)
    torch.testing.assert_close(scale, nn.functional.softplus(raw), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(model.decode(code), (theirs.decode.mlp.seq(code) - 2).sigmoid())
    assert not list(air.load_pyro(file, use_baselines=False).guide.baseline.parameters())


def test_files_and_arguments_that_do_not_fit_are_one_line(tmp_path):
    weights, file = TheirNetworks(None).state_dict(), tmp_path / "theirs.pt"
    torch.save(weights, file)
    with pytest.raises(CheckpointError, match=r"weights of Pyro's examples/air; air\.load_pyro\("):
        air.load(file)
    for name, value, told in (("x_size", 50, 20), ("encoder_net", [200], [9])):
        with pytest.raises(ValueError, match=rf"{name}: must be {told}, as .*".replace("[", r"\[")):
            air.load_pyro(file, **{name: value})
    del weights["bl_rnn.weight_hh"]
    torch.save(weights, file)
    with pytest.raises(CheckpointError, match=r"lacks a weight .*, 'bl_rnn\.weight_hh'"):
        air.load_pyro(file)
    torch.save({"a": torch.zeros(1)}, file)
    with pytest.raises(CheckpointError, match="but no state dict of Pyro's"):
        air.load_pyro(file)
    file.write_bytes(b"not a torch file")
    with pytest.raises(CheckpointError, match="damaged, or not a checkpoint"):
        air.load_pyro(file)


@needs_checkout
@pytest.mark.filterwarnings("ignore:Default grid_sample and affine_grid:UserWarning")
@pytest.mark.parametrize("embed_net", [None, [30, 20]])
def test_the_examples_own_model_is_ours(embed_net, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(CHECKOUT, "examples", "air")))
    specification = importlib.util.spec_from_file_location(
        "pyro_examples_air", Path(CHECKOUT, "examples", "air", "air.py")
    )
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    theirs = module.AIR(num_steps=3, embed_net=embed_net, **SIZES, **NETS, **SIGMOID)
    torch.save(theirs.state_dict(), tmp_path / "theirs.pt")
    ours = air.load_pyro(tmp_path / "theirs.pt", num_steps=3, **SIGMOID)
    images = torch.rand(10, 20, 20)
    trace = poutine.trace(theirs.guide).get_trace(images, None)
    pyro.clear_param_store()
    again = poutine.trace(poutine.replay(ours.guide, trace=trace)).get_trace(images)
    for each in (trace, again):
        each.compute_log_prob()
    for name, site in trace.nodes.items():
        if name.startswith("z_") and site["type"] == "sample":
            torch.testing.assert_close(
                again.nodes[name]["log_prob"], site["log_prob"], atol=1e-4, rtol=1e-4
            )
    z, canvas = poutine.replay(theirs.prior, trace=trace)(10)
    ours_z, ours_canvas = poutine.replay(ours.prior, trace=trace)(10)
    torch.testing.assert_close(ours_canvas, canvas, atol=1e-5, rtol=1e-4)
    assert torch.equal(air.latents_to_tensor(ours_z), module.latents_to_tensor(z))
    torch.testing.assert_close(air.z_where_inv(z[0][0]), module.z_where_inv(z[0][0]))


def test_a_file_that_is_not_whole_names_what_it_lacks(tmp_path):
    weights, file = TheirNetworks(None).state_dict(), tmp_path / "theirs.pt"
    del weights["decode.mlp.seq.2.bias"]
    torch.save(weights, file)
    with pytest.raises(CheckpointError, match=r"decode\.mlp\.layers\.2\.bias must have the shape"):
        air.load_pyro(file)


def test_arguments_as_pyro_takes_them_and_double_weights(tmp_path):
    theirs, file = TheirNetworks(None), tmp_path / "theirs.pt"
    theirs.z_where_scale_prior.data[0] = 0.1  # not 0.1 in single precision
    torch.save(theirs.double().state_dict(), file)
    model = air.load_pyro(file, scale_prior_sd=0.1, encoder_net=(9,), embed_net=None)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float64}
    with pytest.raises(ValueError, match=r"embed_channels: must be None, as .*, got \[4\]"):
        air.load_pyro(file, embed_channels=[4])
