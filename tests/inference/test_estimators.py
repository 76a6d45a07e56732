"""Estimators against enumeration by hand and against one another."""

import math

import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import JitTrace_ELBO, JitTraceGraph_ELBO, Trace_ELBO, TraceGraph_ELBO

from air.acceleration.recording import RecordedGradients
from air.cli.compose import compose_config
from air.errors import ConfigError
from air.inference.marginal import MarginalELBO
from air.inference.objective import Objective, WeightedKL
from air.inference.reinforce import ReinforceELBO
from air.model.config import BernoulliConfig, NormalConfig, OverConfig
from air.model.full_path import count_log_probs
from tests.helpers.estimators import ESTIMATORS, UNBIASED
from tests.helpers.models import VAE, tiny
from tests.helpers.monte_carlo import assert_same_mean, monte_carlo
from tests.helpers.options import CONF, composed

KINDS = [
    pytest.param({}, id="seed"),
    pytest.param({"background": VAE, "likelihood": NormalConfig("normal", "learned")}, id="vae"),
    pytest.param(
        {"compositing": OverConfig("over"), "likelihood": BernoulliConfig("bernoulli", 0.01)},
        id="bernoulli",
    ),
]
PRIOR = {"z_pres_prior_p": lambda t: (0.6, 0.3, 0.2)[t]}


@pytest.fixture
def images():
    return torch.rand(2, 6, 6).round()


@pytest.mark.parametrize("kinds", KINDS)
def test_marginal_equals_enumeration_by_hand(images, kinds):
    air = tiny(num_steps=3, **kinds)
    pyro.set_rng_seed(1)
    loss = MarginalELBO().loss(air.model, air.guide, images, **PRIOR)

    pyro.set_rng_seed(1)
    present = {f"z_pres_{t}": torch.ones(2, 1) for t in range(3)}
    guide = poutine.trace(poutine.condition(air.guide, present)).get_trace(images).nodes
    pi = [guide[f"z_pres_{t}"]["fn"].base_dist.probs.squeeze(-1) for t in range(3)]
    p = [PRIOR["z_pres_prior_p"](t) for t in range(3)]
    elbo = 0.0
    for n in range(4):
        q_n = math.prod(pi[:n]) * (1 - pi[n] if n < 3 else 1)
        p_n = math.prod(p[:n]) * (1 - p[n] if n < 3 else 1)
        staircase = {f"z_pres_{t}": torch.full((2, 1), float(t < n)) for t in range(3)}
        latents = {k: v["value"] for k, v in guide.items() if v["type"] == "sample" and k[2] != "p"}
        model = poutine.trace(poutine.condition(air.model, {**staircase, **latents})).get_trace(
            images, **PRIOR
        )
        model.compute_log_prob()
        log_likelihood = model.nodes["obs"]["log_prob"]
        kl, standard = 0.0, (torch.zeros(2), torch.ones(2))
        where = (air.model.z_where_prior.mean, air.model.z_where_prior.sd)
        priors = {f"z_where_{t}": where for t in range(n)}
        priors |= {f"z_what_{t}": standard for t in range(n)}
        priors |= {"z_background": standard} if "background" in kinds else {}
        for name, (prior_mean, prior_sd) in priors.items():
            q = guide[name]["fn"].base_dist
            q = q if name == "z_background" else q.base_dist  # which is not masked
            kl = kl + (
                (prior_sd / q.scale).log()
                + (q.scale**2 + (q.loc - prior_mean) ** 2) / (2 * prior_sd**2)
                - 0.5
            ).sum(-1)
        elbo = elbo + q_n * (log_likelihood + math.log(p_n) - q_n.log() - kl)
    assert loss == pytest.approx(-elbo.sum().item(), rel=1e-5)


@pytest.mark.parametrize("kinds", KINDS)
@pytest.mark.parametrize("name", UNBIASED)
def test_marginal_equals_the_mean_of_drawn_counts_in_value_and_gradient(images, kinds, name):
    air = tiny(**kinds)
    marginal = monte_carlo(MarginalELBO(), air, images, chunks=16, copies=200, **PRIOR)
    sampled = monte_carlo(ESTIMATORS[name](), air, images, chunks=16, copies=1000, **PRIOR)
    for one, other in zip(marginal, sampled, strict=True):
        assert_same_mean(one, other)
    assert marginal[0][1].item() < 0.02 * abs(
        marginal[0][0].item()
    )  # the comparison means something


@pytest.mark.parametrize("name", UNBIASED)
def test_where_kl_divergences_count_less_they_agree_too(images, name):
    air, less = tiny(), WeightedKL(torch.tensor(0.3))
    with less:
        marginal = monte_carlo(MarginalELBO(), air, images, chunks=20, copies=300, **PRIOR)
        sampled = monte_carlo(ESTIMATORS[name](), air, images, chunks=20, copies=1500, **PRIOR)
    for one, other in zip(marginal, sampled, strict=True):
        assert_same_mean(one, other)


def test_baselines_do_not_change_the_expected_gradient(images):
    plain = tiny()
    expected = monte_carlo(ReinforceELBO(), plain, images, chunks=24, copies=300, **PRIOR)
    for baseline in ({}, {"baseline_decay": 0.9}, {"baseline_scalar": 3.0}):
        other = tiny(use_baselines=True, **baseline)
        other.load_state_dict(plain.state_dict(), strict=False)
        found = monte_carlo(ReinforceELBO(), other, images, chunks=24, copies=300, **PRIOR)
        assert_same_mean(expected[1], found[1])


@pytest.mark.slow
def test_a_fitted_baseline_lowers_the_variance(images):
    air = tiny(use_baselines=True)
    optimizer = torch.optim.Adam(air.guide.baseline.parameters(), lr=0.03)
    plain = tiny()
    plain.load_state_dict(air.state_dict(), strict=False)
    for _ in range(100):
        optimizer.zero_grad()
        ReinforceELBO().loss_and_grads(air.model, air.guide, images.repeat(50, 1, 1), **PRIOR)
        optimizer.step()
    errors = [
        monte_carlo(ReinforceELBO(), model, images, chunks=40, copies=50, **PRIOR)[1][1].norm()
        for model in (air, plain)
    ]
    assert errors[0] < 0.95 * errors[1]


@pytest.mark.parametrize("name", ESTIMATORS)
def test_parts_add_up(images, name):
    air = tiny()
    loss, metrics, *_ = ESTIMATORS[name]().estimate(air.model, air.guide, images, **PRIOR)
    names = ["likelihood", "kl_pres", "kl_where", "kl_what"]
    assert list(metrics)[-4:] == names
    total = metrics["likelihood"] - sum(metrics[name] for name in names[1:])
    (minimised, *rest) = list(metrics)[:-4]
    assert [minimised, *rest] in (["elbo"], ["bound", "elbo"], ["relaxed"])
    torch.testing.assert_close(metrics[rest[0] if rest else minimised], total)
    torch.testing.assert_close(loss.detach(), -metrics[minimised])
    assert not any(metric.requires_grad for metric in metrics.values())


def test_there_is_one_of_each_estimator():
    presets = [path.stem for path in (CONF / "inference").glob("*.yaml")]
    kinds = {composed(f"inference={name}")["inference"]["kind"] for name in presets}
    assert set(ESTIMATORS) == kinds


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_subsample_stands_for_the_whole_plate_in_value_and_gradient(name):
    """Of images that are all alike, a subsample has the value of all of them in the mean."""
    air, image = tiny(), torch.rand(1, 6, 6).round()
    whole, part = (
        monte_carlo(ESTIMATORS[name](), air, image, 12, copies, **size, **PRIOR)
        for copies, size in ((400, {}), (1600, {"batch_size": 400}))
    )
    for one, other in zip(whole, part, strict=True):
        assert_same_mean(one, other)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_what_is_for_the_masked_objective_alone_is_refused_without_masking(images, name):
    air = tiny(use_masking=False)
    overrides = (f"inference={name}", "model.use_masking=false", "experiment=smoke")
    if compose_config((f"inference={name}",)).inference.masked_only:
        with pytest.raises(ValueError, match="z_where_0 is not masked: use_masking must be True"):
            ESTIMATORS[name]().loss(air.model, air.guide, images)
        with pytest.raises(ConfigError, match=f"model.use_masking: .* inference={name}, .*False"):
            compose_config(overrides)
    else:
        assert ESTIMATORS[name]().loss(air.model, air.guide, images) > 0
        compose_config(overrides)


def test_count_log_probs_equals_the_product_and_sums_to_one():
    logits = torch.randn(5, 4, dtype=torch.float64)
    pi = logits.sigmoid()
    expected = [
        math.prod(pi[:, t] for t in range(n)) * (1 - pi[:, n] if n < 4 else 1) for n in range(5)
    ]
    torch.testing.assert_close(count_log_probs(logits).exp(), torch.stack(expected, -1))
    saturated = count_log_probs(torch.tensor([[200.0, -200.0]]))
    assert saturated.isfinite().all()
    assert saturated.exp().tolist() == [[0.0, 1.0, 0.0]]


@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_estimate_has_the_gradient_and_the_value_of_pyros_interface(images, name):
    air, found = tiny(use_baselines=name == "reinforce"), []
    for take in (
        lambda elbo: elbo.loss_and_grads(air.model, air.guide, images, **PRIOR),
        lambda elbo: differentiated(elbo.estimate(air.model, air.guide, images, **PRIOR).loss),
    ):
        pyro.set_rng_seed(1)
        air.zero_grad()
        value = take(ESTIMATORS[name]())
        found.append((value, [p.grad for p in air.parameters() if p.grad is not None]))
    (one, one_gradients), (other, other_gradients) = found
    assert one == pytest.approx(other, rel=1e-5)
    for gradient, other_gradient in zip(one_gradients, other_gradients, strict=True):
        torch.testing.assert_close(gradient, other_gradient)


def differentiated(loss):
    loss.backward()
    return loss.item()


@pytest.mark.parametrize("name", sorted(ESTIMATORS.keys() - {"marginal"}))  # see `test_kinds.py`
def test_a_recorded_step_is_the_eager_one(images, name):
    air, batch = tiny(use_baselines=name == "reinforce"), images.repeat(4, 1, 1)
    probabilities, scheduled = torch.full((2,), 0.4), {}
    if name == "relaxed":
        scheduled = {"temperature": torch.tensor(0.7)}
    objective = Objective(ESTIMATORS[name](), scheduled=list(scheduled))
    settings = (probabilities, *scheduled.values())
    with torch.random.fork_rng():
        expected = objective(air, batch, *settings)
        gradient = torch.autograd.grad(expected.loss, list(air.parameters()), allow_unused=True)
    recorded = RecordedGradients(objective, air)
    with torch.random.fork_rng():
        metrics = recorded(batch, *settings)
    for metric, value in expected.metrics.items():
        torch.testing.assert_close(metrics[metric], value)
    for parameter, slope in zip(air.parameters(), gradient, strict=True):
        torch.testing.assert_close(parameter.grad, slope, rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore:`torch.jit.trace` is deprecated:FutureWarning")
@pytest.mark.parametrize(
    ("jit", "plain"), [(JitTraceGraph_ELBO, TraceGraph_ELBO), (JitTrace_ELBO, Trace_ELBO)]
)
def test_pyros_jit_gives_the_same_gradient_where_nothing_is_left_to_chance(jit, plain):
    air, data = tiny(use_baselines=True, embed_net=[4]).double(), torch.rand(5, 6, 6)
    with torch.no_grad():  # every object is there, and standard deviations are 1e-6
        air.predict.mlp.layers[-1].bias[0] += 50
        air.predict.mlp.layers[-1].bias[4:] -= 50
        z_what = air.encode.mlp.layers[-1]
        z_what.weight[air.z_what_size :], z_what.bias[air.z_what_size :] = 0, -50
    found = []
    for estimator in (jit(ignore_jit_warnings=True), plain()):
        for _ in range(2):  # the first call records
            air.zero_grad()
            loss = estimator.loss_and_grads(air.model, air.guide, data)
        found.append((loss, {name: p.grad for name, p in air.named_parameters()}))
    (jit_loss, jit_gradients), (loss, slopes) = found
    assert jit_loss == pytest.approx(loss, rel=0.02)
    for name, slope in slopes.items():
        if slope is not None:
            # The baseline is told of log q, and so of the noise itself.
            tolerance = 0.02 if name.startswith("guide.baseline.") else 1e-3
            error = (jit_gradients[name] - slope).norm()
            assert error < tolerance * slope.norm() + 1e-6, name
