"""The relaxation: its gradient is that of what it computes, and how far that is from the ELBO."""

import pyro
import pyro.distributions as dist
import pytest
import torch

from air.cli.compose import compose_config
from air.inference.marginal import MarginalELBO
from air.inference.objective import Objective
from air.inference.rebar import given
from air.inference.relaxed import RelaxedELBO, presence_terms
from air.model.config import BernoulliConfig, OverConfig
from air.model.full_path import full_path
from tests.helpers.gradients import along_the_gradient
from tests.helpers.models import PLAIN_OR_COVERING, tiny
from tests.helpers.monte_carlo import SIGMAS, assert_same_mean, monte_carlo

PRIOR = {"z_pres_prior_p": lambda t: (0.6, 0.3, 0.2)[t]}
KINDS = [
    *PLAIN_OR_COVERING,
    pytest.param(
        {"compositing": OverConfig("over"), "likelihood": BernoulliConfig("bernoulli", 0.01)},
        id="bernoulli",
    ),
]


@pytest.fixture
def images():
    return torch.rand(2, 6, 6).round()


@pytest.mark.parametrize("kinds", KINDS)
@pytest.mark.parametrize("temperature", [0.3, 2.0])
def test_its_gradient_is_that_of_its_value(images, kinds, temperature):
    air = tiny(num_steps=3, **kinds).double()
    length, slope = along_the_gradient(air, images.double(), RelaxedELBO(temperature))
    assert slope == pytest.approx(length, rel=1e-6)


@pytest.mark.parametrize("kinds", KINDS)
def test_straight_through_it_has_the_value_of_the_elbo(images, kinds):
    air = tiny(**kinds)
    marginal = monte_carlo(MarginalELBO(), air, images, chunks=16, copies=300, **PRIOR)
    straight = monte_carlo(RelaxedELBO(0.5, True), air, images, chunks=16, copies=1500, **PRIOR)
    assert_same_mean(marginal[0], straight[0])


def test_straight_through_the_gradient_is_that_of_presences_in_between(images):
    air, images = tiny(num_steps=1).double(), images.double()
    pyro.set_rng_seed(2)
    estimate = RelaxedELBO(0.5, True).estimate(air.model, air.guide, images, **PRIOR)
    (found,) = torch.autograd.grad(estimate.loss, estimate.path.presence_logits)

    pyro.set_rng_seed(2)
    path = full_path(air.guide, images, **PRIOR)
    logits = path.presence_logits.detach().requires_grad_()
    between = dist.RelaxedBernoulli(torch.tensor(0.5), logits=logits).rsample()
    presence = between.detach().round().requires_grad_()
    terms = presence_terms(air.model, path, presence.unsqueeze(0), (images,), PRIOR)
    (reward,) = torch.autograd.grad(terms.rewards().sum(), presence)
    there = dist.Bernoulli(logits=logits)
    prior = dist.Bernoulli(torch.full_like(logits, PRIOR["z_pres_prior_p"](0)))
    loss = torch.distributions.kl_divergence(there, prior).sum() - (reward * between).sum()
    torch.testing.assert_close(found, torch.autograd.grad(loss, logits)[0])


def test_its_value_nears_the_elbo_as_the_temperature_falls(images):
    air = tiny()
    (elbo, _), _ = monte_carlo(MarginalELBO(), air, images, chunks=16, copies=300, **PRIOR)
    warm, cold = (
        monte_carlo(RelaxedELBO(temperature), air, images, chunks=16, copies=2000, **PRIOR)[0][0]
        for temperature in (0.5, 0.01)
    )
    assert abs(cold - elbo) < 0.3 * abs(warm - elbo)


def test_the_temperature_falls_by_equal_factors_and_reaches_the_estimator():
    config = compose_config(
        (
            "inference=relaxed",
            "inference.temperature_start=0.8",
            "inference.temperature_end=0.2",
            "inference.temperature_iterations=100",
            "inference.warm_up_iterations=10",
            "sleep=none",
        )
    )
    schedule = [config.inference.scheduled(i) for i in (0, 50, 100, 900)]
    assert [each["temperature"] for each in schedule] == pytest.approx([0.8, 0.4, 0.2, 0.2])
    assert [each["rest_weight"] for each in schedule] == [1.0] * 4
    objective, air, batch = config.build_objective(), tiny(), torch.rand(3, 6, 6)
    probabilities = torch.tensor([0.6, 0.3])
    for temperature in (0.8, 0.2):
        torch.manual_seed(1)
        found = objective(air, batch, probabilities, torch.tensor(1.0), torch.tensor(temperature))
        torch.manual_seed(1)
        expected = Objective(RelaxedELBO(temperature))(air, batch, probabilities)
        torch.testing.assert_close(found.loss, expected.loss)


def test_given_its_sign_the_noisy_logit_is_distributed_as_without():
    """z̃ drawn for b, and b for z, together give z: REBAR has no bias for this alone."""
    torch.manual_seed(0)
    logits = torch.full((200_000,), 0.7)
    b = torch.bernoulli(logits.sigmoid())
    z = given(b, logits)
    assert ((z > 0) == (b > 0)).all()
    for quantile in (0.1, 0.4, 0.9):
        below = (z < torch.tensor(quantile).logit() + 0.7).double().mean().item()
        assert abs(below - quantile) < SIGMAS * (quantile * (1 - quantile) / len(z)) ** 0.5
