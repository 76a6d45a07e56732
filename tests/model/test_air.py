"""Model and guide: sites, shapes, masking, rendering, and Pyro's interface."""

import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, Trace_ELBO, TraceGraph_ELBO
from pyro.optim import Adam

from air import AIR
from air.inference.marginal import MarginalELBO
from air.model.canvas import ObjectLatents
from air.model.windows import window_to_image
from tests.helpers.models import TINY, tiny


def latent_names(num_steps):
    return [f"z_{kind}_{t}" for t in range(num_steps) for kind in ("pres", "where", "what")]


@pytest.mark.parametrize("num_steps", [1, 2, 8])
@pytest.mark.parametrize("use_masking", [True, False])
def test_sites_and_shapes(num_steps, use_masking):
    air = tiny(num_steps=num_steps, use_masking=use_masking)
    images = torch.rand(5, 6, 6)
    guide_trace = poutine.trace(air.guide).get_trace(images)
    model_trace = poutine.trace(poutine.replay(air.model, guide_trace)).get_trace(images)
    for trace, names in (
        (guide_trace, ["data", *latent_names(num_steps)]),
        (model_trace, ["data", *latent_names(num_steps), "obs"]),
    ):
        sites = [n for n, s in trace.nodes.items() if s["type"] == "sample"]
        assert sites == names
        trace.compute_log_prob()
        for t in range(num_steps):
            for kind, size in (("pres", 1), ("where", 3), ("what", 2)):
                site = trace.nodes[f"z_{kind}_{t}"]
                assert site["value"].shape == (5, size)
                assert site["log_prob"].shape == (5,)
    assert model_trace.nodes["obs"]["value"].shape == (5, 36)
    assert [f.name for f in model_trace.nodes["obs"]["cond_indep_stack"]] == ["data"]


def test_the_interface_of_the_issue_runs_as_written():
    X = torch.rand(100, 50, 50)
    X_batch = X[:64]
    adam = Adam({"lr": 1e-4})
    air = AIR(num_steps=3, x_size=50, window_size=28, z_what_size=50, rnn_hidden_size=256,
              encoder_net=[200], decoder_net=[200], use_masking=True, use_baselines=True,
              likelihood_sd=0.3)  # fmt: skip
    svi = SVI(air.model, air.guide, adam, loss=TraceGraph_ELBO())
    loss = svi.step(X, batch_size=64)
    assert isinstance(loss, float)
    z, x = air.prior(5)
    assert x.shape == (5, 50, 50)
    assert [w.shape for w in z[0]] == [(5, 3)] * 3
    assert [p.shape for p in z[1]] == [(5, 1)] * 3
    z_where, z_pres = air.guide(X_batch, batch_size=64)
    assert [w.shape for w in z_where] == [(64, 3)] * 3
    assert [p.shape for p in z_pres] == [(64, 1)] * 3


@pytest.mark.parametrize("elbo", [MarginalELBO, TraceGraph_ELBO, Trace_ELBO])
def test_svi_trains_every_parameter(elbo):
    air = tiny(embed_channels=[2], embed_net=[4], use_baselines=elbo is TraceGraph_ELBO)
    before = {name: value.clone() for name, value in air.named_parameters()}
    svi = SVI(air.model, air.guide, Adam({"lr": 0.1}), loss=elbo())
    for _ in range(3):
        svi.step(torch.rand(8, 6, 6), batch_size=4)
    unchanged = [n for n, value in air.named_parameters() if torch.equal(value, before[n])]
    assert unchanged == []


def test_baseline_parameters_can_be_told_by_name():
    names = []
    svi_optimizer = Adam(lambda name: names.append(name) or {"lr": 1e-3})
    air = tiny(use_baselines=True)
    SVI(air.model, air.guide, svi_optimizer, TraceGraph_ELBO()).step(torch.rand(4, 6, 6))
    baseline = {name for name in names if "bl_" in name}
    assert len(baseline) == len(list(air.guide.baseline.parameters()))


def test_subsampling_scales_every_term():
    images = torch.rand(12, 6, 6)
    trace = poutine.trace(tiny().guide).get_trace(images, batch_size=3)
    assert trace.nodes["z_what_1"]["value"].shape == (3, 2)
    assert trace.nodes["z_what_1"]["scale"] == 4


def test_z_pres_is_a_staircase_and_the_prior_is_the_one_given():
    air = tiny(num_steps=3)
    probabilities = (0.8, 0.5, 0.25)
    (_, z_pres), images = air.prior(20000, z_pres_prior_p=probabilities.__getitem__)
    presence = torch.cat(z_pres, -1)
    assert (presence.diff(dim=-1) <= 0).all()
    expected = torch.tensor(probabilities).cumprod(0)
    torch.testing.assert_close(presence.mean(0), expected, atol=0.015, rtol=0)
    assert (images[presence[:, 0] == 0] == 0).all()


@pytest.mark.parametrize("probability", [0.0, 1.0, 1e-15, 1 - 1e-15])
def test_extreme_priors_stay_finite(probability):
    air = tiny()
    loss = MarginalELBO().loss(
        air.model, air.guide, torch.rand(3, 6, 6), z_pres_prior_p=lambda t: probability
    )
    assert torch.tensor(loss).isfinite()


def test_masked_steps_contribute_exactly_zero():
    air, images = tiny(num_steps=3), torch.rand(4, 6, 6)
    count = torch.tensor([0, 1, 2, 3]).unsqueeze(-1)
    staircase = {f"z_pres_{t}": (count > t).float() for t in range(3)}
    guide_trace = poutine.trace(poutine.condition(air.guide, staircase)).get_trace(images)
    values = {n: guide_trace.nodes[n]["value"] for n in latent_names(3)}
    model_trace = poutine.trace(poutine.condition(air.model, values)).get_trace(images)
    for trace in (guide_trace, model_trace):
        trace.compute_log_prob()
        for t in range(3):
            absent = (count <= t).squeeze(-1)
            for kind in ("where", "what"):
                log_prob = trace.nodes[f"z_{kind}_{t}"]["log_prob"]
                assert (log_prob[absent] == 0).all()
                assert (log_prob[~absent] != 0).all()
            # The step after the last object still chooses that there is none; later ones do not.
            finished = (count < t).squeeze(-1)
            assert (trace.nodes[f"z_pres_{t}"]["log_prob"][finished] == 0).all()
            assert (trace.nodes[f"z_pres_{t}"]["log_prob"][~finished] != 0).all()


def test_without_masking_absent_objects_stay_in_the_objective():
    air, images = tiny(use_masking=False), torch.rand(4, 6, 6)
    none = {f"z_pres_{t}": torch.zeros(4, 1) for t in range(2)}
    trace = poutine.trace(poutine.condition(air.guide, none)).get_trace(images)
    trace.compute_log_prob()
    assert (trace.nodes["z_what_1"]["log_prob"] != 0).all()


def test_render_adds_up_the_present_objects():
    air = tiny(num_steps=3)
    z_where, z_what = torch.randn(5, 3, 3), torch.randn(5, 3, 2)
    z_pres = torch.tensor([[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1], [1, 0, 0]]).float()
    expected = torch.zeros(5, 6, 6)
    for i in range(5):
        for t in range(3):
            window = air.decode(z_what[i, t]).view(4, 4)
            expected[i] += z_pres[i, t] * window_to_image(z_where[i, t], window, 6)
    torch.testing.assert_close(air.model.render(ObjectLatents(z_pres, z_where, z_what)), expected)
    stacked = torch.stack((z_pres, 1 - z_pres))
    assert air.model.render(ObjectLatents(stacked, z_where, z_what)).shape == (2, 5, 6, 6)


def test_the_embedding_is_computed_once_whatever_num_steps():
    calls = []
    for num_steps in (1, 5):
        air = tiny(num_steps=num_steps, embed_net=[4])
        air.guide.attention.embed.register_forward_hook(lambda *_: calls.append(num_steps))  # noqa: B023
        air.guide(torch.rand(2, 6, 6))
    assert len(calls) == 2


def test_guide_takes_another_num_steps():
    z_where, _ = tiny().guide(torch.rand(3, 6, 6), num_steps=5)
    assert len(z_where) == 5


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("num_steps", 0),
        ("x_size", 0),
        ("window_size", 7),
        ("likelihood_sd", 0.0),
        ("scale_prior_sd", -1.0),
        ("pos_prior_sd", float("nan")),
        ("non_linearity", "Foo"),
        ("embed_net", []),
    ],
)
def test_impossible_arguments_are_refused(argument, value):
    with pytest.raises(ValueError, match=argument if argument != "embed_net" else "layer"):
        AIR(**{**TINY, argument: value})


def test_gradients_do_not_flow_from_the_baseline_into_the_guide():
    air = tiny(use_baselines=True)
    images = torch.rand(4, 6, 6)
    trace = poutine.trace(air.guide).get_trace(images)
    values = [trace.nodes[f"z_pres_{t}"]["infer"]["baseline"]["baseline_value"] for t in range(2)]
    assert [value.shape for value in values] == [(4,)] * 2
    sum(value.sum() for value in values).backward()
    with_gradient = {n for n, p in air.named_parameters() if p.grad is not None and p.grad.any()}
    assert with_gradient
    assert all(name.startswith("guide.baseline.") for name in with_gradient)


def test_pyro_parameters_are_the_modules_own():
    air = tiny()
    SVI(air.model, air.guide, Adam({"lr": 0.1}), MarginalELBO()).step(torch.rand(4, 6, 6))
    stored = {id(value.unconstrained()) for value in pyro.get_param_store().values()}
    assert stored == {id(parameter) for parameter in air.parameters()}
