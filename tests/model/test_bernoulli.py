"""Images of black and white pixels: the likelihood, and what it is refused for."""

import pyro.distributions as dist
import pytest
import torch

from air.errors import ConfigError
from air.inference.sleep import SleepPhase
from air.model.compositing.sum import SummedCanvas
from air.model.config import BernoulliConfig, NormalConfig, OverConfig
from air.model.likelihood.bernoulli import BernoulliLikelihood
from tests.helpers.models import tiny

FLIP = 0.01
BERNOULLI = BernoulliConfig("bernoulli", FLIP)


def test_equals_bernoulli_in_value_and_gradient_for_every_choice_of_objects():
    objects = torch.rand(5, 2, 9, dtype=torch.float64).div(2).requires_grad_()
    z_pres = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
    z_pres = z_pres.unsqueeze(1).expand(-1, 5, -1)
    images = torch.rand(5, 9, dtype=torch.float64).round()
    ours = BernoulliLikelihood(FLIP)(SummedCanvas(z_pres, objects, None)).log_prob(images)
    canvas = torch.einsum("cnt,ntp->cnp", z_pres, objects)
    white = canvas * (1 - FLIP) + (1 - canvas) * FLIP  # drawn white and kept, or black and flipped
    theirs = dist.Bernoulli(white).to_event(1).log_prob(images)
    torch.testing.assert_close(ours, theirs)
    weights = torch.rand_like(ours)
    slopes = [torch.autograd.grad((weights * each).sum(), objects)[0] for each in (ours, theirs)]
    torch.testing.assert_close(*slopes)


def test_a_pixel_that_the_canvas_rules_out_costs_what_a_flip_does():
    canvas = SummedCanvas(torch.ones(1, 1), torch.tensor([[[0.0, 1.0, 1.0 + 1e-6]]]), None)
    p = BernoulliLikelihood(FLIP)(canvas)
    wrong, right = torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([[0.0, 1.0, 1.0]])
    torch.testing.assert_close(p.log_prob(wrong), 3 * torch.tensor([FLIP]).log())
    torch.testing.assert_close(p.log_prob(right), 3 * torch.tensor([1 - FLIP]).log())


def test_draws_and_dreams_are_black_and_white():
    air = tiny(compositing=OverConfig("over"), likelihood=BERNOULLI)
    scene = air.model.draw(2000, lambda t: 0.9)
    canvas = air.model.paint(*scene)
    draws = air.model.likelihood(canvas).sample()
    expected = FLIP + (1 - 2 * FLIP) * canvas.pixels.mean()
    torch.testing.assert_close(draws.mean(), expected, atol=0.01, rtol=0)
    dreams = SleepPhase(1.0, 50, codes="posterior", noise=True).dream(air, torch.ones(4, 6, 6))
    assert set(dreams.images.unique().tolist()) == {0.0, 1.0}


def test_canvases_must_be_probabilities():
    with pytest.raises(ConfigError, match=r"^compositing: must be 'over' with .*, got 'sum'$"):
        tiny(likelihood=BERNOULLI)


def test_images_must_be_black_and_white():
    images = torch.rand(5, 1, 6, 6).round()
    BERNOULLI.check_images(lambda: images)
    images[3, 0, 2, 2] = 0.25
    with pytest.raises(ConfigError, match=r"^data: must be images of black and white .* 0\.25,"):
        BERNOULLI.check_images(lambda: images)
    NormalConfig("normal", "fixed").check_images(lambda: images)
