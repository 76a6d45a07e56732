"""Bounds of several particles, against enumeration of the counts of all of them."""

import contextlib
import itertools
import math
from functools import partial

import pyro
import pytest
import torch

from air.inference.counts import count_terms, drawn
from air.inference.dreg import DoublyReparameterizedELBO
from air.inference.estimator import Estimate, SurrogateELBO
from air.inference.iwae import ImportanceWeightedELBO
from air.inference.marginal import MarginalELBO
from air.inference.objective import WeightedKL
from air.inference.particles import draws, full_paths, importance_bound
from air.inference.rws import Given, ReweightedWakeSleep
from air.inference.vimco import VIMCO, without_each
from air.model.config import ImageConfig
from air.model.networks import MIN_SD
from air.model.sites import Z_PRES
from tests.helpers.models import PLAIN_OR_COVERING, VAE, tiny
from tests.helpers.monte_carlo import assert_same_mean, gradients, monte_carlo

PRIOR = {"z_pres_prior_p": lambda t: (0.6, 0.3, 0.2)[t]}


class Enumerated(SurrogateELBO):
    """The mean over all counts of all particles, along paths that are drawn; T = num_steps.

    Args:
        wake_sleep: whether it has the gradient of reweighted wake-sleep, or else of the bound.
    """

    def __init__(self, num_particles, wake_sleep=False):
        super().__init__()
        self.number, self.wake_sleep = num_particles, wake_sleep

    def estimate(self, model, guide, *args, **kwargs):
        if self.wake_sleep:
            guide = partial(guide, teaches_background=False)
        with Given() if self.wake_sleep else contextlib.nullcontext():
            paths = full_paths(guide, self.number, args, kwargs)
        particles = [count_terms(model, path, args, kwargs, drawn) for path in paths]
        loss = value = 0.0
        weight = particles[0].kl_weight
        for counts in itertools.product(range(len(particles[0].log_q)), repeat=self.number):
            chosen = list(zip(particles, counts, strict=True))
            q = math.prod(each.log_q[n].exp() for each, n in chosen)
            prior = [weight * each.log_prior[n] for each, n in chosen]
            joint = [each.log_likelihood[n] + p for (each, n), p in zip(chosen, prior, strict=True)]
            log_q = [each.log_q[n] + sum(each.kl.values())[n] for each, n in chosen]  # less log p
            weights = torch.stack([p - weight * q for p, q in zip(joint, log_q, strict=True)])
            bound = importance_bound(weights)
            value = value - (q * bound).sum().detach()
            if self.wake_sleep:
                followed = torch.stack([p + q for p, q in zip(joint, log_q, strict=True)])
                bound, q = (weights.softmax(0).detach() * followed).sum(0), q.detach()
            loss = loss - (q * bound).sum()
        return Estimate(loss - loss.detach() + value, {})


class WithoutBaseline(SurrogateELBO):
    """VIMCO's bound, with a plain score function."""

    def estimate(self, model, guide, *args, **kwargs):
        particles = draws(model, guide, 3, args, kwargs)
        bound = importance_bound(torch.stack([draw.log_weight() for draw in particles]))
        score = bound.detach() * sum(draw.log_q[Z_PRES] for draw in particles)
        return Estimate(-(bound + score - score.detach()).sum(), {})


@pytest.fixture
def images():
    return torch.rand(2, 6, 6).round()


@pytest.mark.parametrize("kinds", PLAIN_OR_COVERING)
@pytest.mark.parametrize("estimator", [ImportanceWeightedELBO, DoublyReparameterizedELBO])
def test_with_one_path_it_is_the_elbo_in_value_and_gradient(images, kinds, estimator):
    air = tiny(**kinds)
    marginal = monte_carlo(MarginalELBO(), air, images, chunks=16, copies=300, **PRIOR)
    one_path = monte_carlo(estimator(1), air, images, chunks=16, copies=600, **PRIOR)
    for one, other in zip(marginal, one_path, strict=True):
        assert_same_mean(one, other)


@pytest.mark.parametrize("kinds", PLAIN_OR_COVERING)
def test_doubly_reparameterised_the_gradient_has_the_same_mean(images, kinds):
    air = tiny(num_steps=3, **kinds).double()
    chunks = {"chunks": 20, "copies": 40, **PRIOR}
    plain = monte_carlo(ImportanceWeightedELBO(3), air, images.double(), **chunks)
    doubly = monte_carlo(DoublyReparameterizedELBO(3), air, images.double(), **chunks)
    for one, other in zip(plain, doubly, strict=True):
        assert_same_mean(one, other)


def test_where_the_guide_is_the_posterior_doubly_reparameterised_it_has_no_noise(images):
    """If a model shows no objects, its posterior is its prior, and every weight is the same."""
    air, probability = tiny(num_steps=3).double(), torch.tensor(0.6, dtype=torch.float64)
    for layers in (air.decode.mlp.layers, air.predict.mlp.layers, air.encode.mlp.layers):
        torch.nn.init.zeros_(layers[-1].weight)
        torch.nn.init.zeros_(layers[-1].bias)
    sd_of_one = math.log(math.expm1(1 - MIN_SD))  # before softplus
    with torch.no_grad():
        air.decode.mlp.layers[-1].bias.fill_(-100)
        air.predict.mlp.layers[-1].bias[0] = probability.logit()
        air.predict.mlp.layers[-1].bias[4:] = sd_of_one
        air.encode.mlp.layers[-1].bias[air.z_what_size :] = sd_of_one
    steepness = []
    for estimator in (ImportanceWeightedELBO, DoublyReparameterizedELBO):
        air.zero_grad()
        estimator(3).loss_and_grads(
            air.model, air.guide, images.double(), z_pres_prior_p=lambda t: probability
        )
        steepness.append(gradients(air).norm().item())
    assert steepness[0] > 0.1
    assert steepness[1] < 1e-9


def test_its_bound_is_the_log_of_the_mean_of_exponentials_of_elbos(images):
    air = tiny().double()
    pyro.set_rng_seed(3)
    loss = ImportanceWeightedELBO(2).loss(air.model, air.guide, images.double(), **PRIOR)
    pyro.set_rng_seed(3)
    paths = full_paths(air.guide, 2, (images.double(),), PRIOR)
    elbos = [
        sum(count_terms(air.model, path, (images.double(),), PRIOR, drawn).elbo().unbind())
        for path in paths
    ]
    assert len({elbo.item() for elbo in elbos}) == 2
    by_hand = 0.0
    for image in range(2):
        of_paths = [
            count_terms(air.model, path, (images.double(),), PRIOR, drawn).elbo()[image].exp()
            for path in paths
        ]
        by_hand -= (sum(of_paths) / 2).log().item()
    assert loss == pytest.approx(by_hand)


@pytest.mark.parametrize("kinds", PLAIN_OR_COVERING)
def test_vimco_equals_enumeration_in_value_and_gradient(images, kinds):
    air = tiny(**kinds)
    expected = monte_carlo(Enumerated(2), air, images, chunks=24, copies=300, **PRIOR)
    found = monte_carlo(VIMCO(2), air, images, chunks=24, copies=1500, **PRIOR)
    for one, other in zip(expected, found, strict=True):
        assert_same_mean(one, other)


def test_the_other_particles_are_a_baseline(images):
    air = tiny()
    without, vimco = (
        monte_carlo(estimator, air, images, chunks=40, copies=20, **PRIOR)[1][1].norm()
        for estimator in (WithoutBaseline(), VIMCO(3))
    )
    assert vimco < 0.7 * without
    with pytest.raises(ValueError, match="num_particles must be at least 2, got 1"):
        VIMCO(1)


def test_where_divergences_count_less_they_do_in_every_weight(images):
    air = tiny()
    with WeightedKL(torch.tensor(0.3)):
        for one, other, copies in (
            (MarginalELBO(), DoublyReparameterizedELBO(1), 400),
            (ImportanceWeightedELBO(3), DoublyReparameterizedELBO(3), 200),
            (Enumerated(2), VIMCO(2), 1000),
            (Enumerated(2, True), ReweightedWakeSleep(2), 1000),
        ):
            expected = monte_carlo(one, air, images, chunks=16, copies=200, **PRIOR)
            found = monte_carlo(other, air, images, chunks=16, copies=copies, **PRIOR)
            for of_one, of_other in zip(expected, found, strict=True):
                assert_same_mean(of_one, of_other)


def test_bounds_are_ordered(images):
    air = tiny().double()
    means = [
        -monte_carlo(estimator, air, images.double(), chunks=4, copies=500, **PRIOR)[0][0].item()
        for estimator in (MarginalELBO(), ImportanceWeightedELBO(4), VIMCO(4), VIMCO(16))
    ]
    assert means == sorted(means)


def test_without_each_weight_it_is_the_geometric_mean_of_the_others():
    log_weights = torch.randn(3, 2, dtype=torch.float64)
    found = without_each(log_weights)
    for k in range(3):
        others = [log_weights[j] for j in range(3) if j != k]
        mean = sum(others) / 2
        expected = (sum(w.exp() for w in (*others, mean)) / 3).log()
        torch.testing.assert_close(found[k], expected)


@pytest.mark.parametrize("kinds", PLAIN_OR_COVERING)
def test_wake_sleep_equals_enumeration_in_value_and_gradient(images, kinds):
    air = tiny(**kinds)
    expected = monte_carlo(Enumerated(2, True), air, images, chunks=24, copies=300, **PRIOR)
    found = monte_carlo(ReweightedWakeSleep(2), air, images, chunks=24, copies=1500, **PRIOR)
    for one, other in zip(expected, found, strict=True):
        assert_same_mean(one, other)


def test_asleep_the_guide_learns_how_often_the_model_has_an_object():
    """With a guide that says π of every image, the mean of -log q has the slope π - p."""
    air, probability = tiny(num_steps=1), 0.25
    last = air.predict.mlp.layers[-1]
    with torch.no_grad():
        last.weight.zero_()
        last.bias[0] = 0.4
    loss = ReweightedWakeSleep(1, wake_share=0.0)
    data = torch.rand(20_000, 6, 6)
    loss.loss_and_grads(air.model, air.guide, data, z_pres_prior_p=lambda t: probability)
    expected = torch.tensor(0.4).sigmoid().item() - probability
    assert last.bias.grad[0].item() / len(data) == pytest.approx(expected, abs=0.015)
    untaught = {name for name, value in air.named_parameters() if value.grad is None}
    assert all(name.startswith("guide.") for name in untaught)


@pytest.mark.parametrize("background", [VAE, ImageConfig("image", plain=False)])
def test_a_background_that_both_share_follows_the_models_objective_alone(images, background):
    air = tiny(background=background)
    of_model = [
        value
        for name, value in air.model.named_parameters()
        if not name.startswith("canvas.background.encode.")
    ]
    pyro.set_rng_seed(1)
    loss = ReweightedWakeSleep(2, wake_share=0.5).estimate(air.model, air.guide, images, **PRIOR)
    found = torch.autograd.grad(loss.loss, of_model)
    pyro.set_rng_seed(1)
    with Given():
        particles = draws(air.model, air.guide, 2, (images,), PRIOR)
    weights = torch.stack([draw.log_weight() for draw in particles]).softmax(0).detach()
    followed = (weights * torch.stack([draw.log_joint() for draw in particles])).sum()
    expected = torch.autograd.grad(-followed, of_model)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_where_divergences_count_less_what_the_guide_learns_asleep_does_too(images):
    air, found = tiny(), []
    for weight in (1.0, 0.3):
        pyro.set_rng_seed(1)
        with WeightedKL(torch.tensor(weight)):
            estimate = ReweightedWakeSleep(2, wake_share=0.0).estimate(air.model, air.guide, images)
        of_guide = list(air.guide.attention.parameters())
        found.append(torch.autograd.grad(estimate.loss, of_guide, allow_unused=True))
    taught = [pair for pair in zip(*found, strict=True) if pair[0] is not None]
    assert taught
    for whole, less in taught:
        torch.testing.assert_close(less, 0.3 * whole)
