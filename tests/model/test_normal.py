"""The likelihood of a sum of objects against Pyro's normal distribution around their canvas."""

import pyro.distributions as dist
import pytest
import torch

from air.errors import ConfigError
from air.model.compositing.sum import SummedCanvas
from air.model.config import NormalConfig
from air.model.likelihood.normal import CanvasNormal, LearnedNormalLikelihood
from air.model.sizes import LEAST_LEARNED_SD
from tests.helpers.models import tiny

NUM_PIXELS = 24


def objects_and_choices(num_steps=3, dtype=torch.float64):
    objects = torch.randn(5, num_steps, NUM_PIXELS, dtype=dtype, requires_grad=True)
    counts = torch.arange(num_steps + 1).view(-1, 1, 1)
    z_pres = (counts > torch.arange(num_steps)).to(dtype).expand(-1, 5, -1).clone()
    return objects, z_pres.requires_grad_()


def around(z_pres, objects, background=None, sd=0.3, **arguments):
    return CanvasNormal(SummedCanvas(z_pres, objects, background), sd, **arguments)


@pytest.mark.parametrize("sds", [None, [0.3], [0.2, 0.5, 0.9]])  # fixed, one, one per channel
@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("num_steps", [1, 3, 6])
def test_equals_normal_in_value_and_gradient(num_steps, behind, sds):
    objects, z_pres = objects_and_choices(num_steps)
    background = torch.randn(5, NUM_PIXELS, dtype=torch.float64) if behind else None
    value = torch.randn(5, NUM_PIXELS, dtype=torch.float64, requires_grad=True)
    given, sd, of_pixels = [objects, z_pres, value], 0.3, 0.3
    if sds is not None:
        sd = torch.tensor(sds, dtype=torch.float64, requires_grad=True)
        of_pixels = sd.unsqueeze(-1).expand(-1, NUM_PIXELS // len(sds)).flatten()
        given.append(sd)
    canvas = torch.einsum("cnt,ntp->cnp", z_pres, objects)
    canvas = canvas + background if behind else canvas
    torch.testing.assert_close(SummedCanvas(z_pres, objects, background).pixels, canvas)
    ours = around(z_pres, objects, background, sd).log_prob(value)
    theirs = dist.Normal(canvas, of_pixels).to_event(1).log_prob(value)
    torch.testing.assert_close(ours, theirs)
    weights = torch.rand_like(ours)
    for one, other in zip(
        *(torch.autograd.grad((weights * log_prob).sum(), given) for log_prob in (ours, theirs)),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_float32_is_exact_enough_where_the_canvas_explains_the_image():
    objects = torch.rand(5, 3, 2500)
    z_pres = torch.ones(5, 3)
    value = objects.sum(1) + 0.01 * torch.randn(5, 2500)
    exact = dist.Normal(objects.double().sum(1), 0.3).to_event(1).log_prob(value.double())
    ours = around(z_pres, objects).log_prob(value)
    bound = 16 * torch.finfo(torch.float32).eps * value.square().sum(-1) / (2 * 0.3**2)
    assert ((ours - exact).abs() < bound).all()


def test_draws_have_its_moments():
    objects = torch.tensor([[[0.0, 1.0, -2.0], [1.0, 1.0, 1.0]]])  # (1, 2, 3)
    draws = around(torch.tensor([[1.0, 0.0]]), objects).sample((20000,))
    torch.testing.assert_close(draws.mean(0), objects[:, 0], atol=0.01, rtol=0)
    torch.testing.assert_close(draws.std(0), torch.full((1, 3), 0.3), atol=0.01, rtol=0)
    sds = torch.tensor([0.1, 0.3, 0.7])
    draws = around(torch.tensor([[1.0, 0.0]]), objects, sd=sds).sample((20000,))
    torch.testing.assert_close(draws.std(0), sds.expand(1, 3), atol=0.02, rtol=0)


def test_expand_and_validation():
    objects, z_pres = objects_and_choices()
    expanded = around(z_pres[1], objects).expand([4, 5])
    assert expanded.batch_shape == (4, 5)
    assert expanded.event_shape == (NUM_PIXELS,)
    value = torch.randn(5, NUM_PIXELS, dtype=torch.float64)
    torch.testing.assert_close(
        expanded.log_prob(value),
        around(z_pres, objects).log_prob(value)[[1] * 4],
    )
    with pytest.raises(ValueError, match="support"):
        around(z_pres, objects, validate_args=True).log_prob(value * torch.nan)


def learned(images, num_sds):
    """Return what is learned of images around a black canvas, by gradient ascent."""
    likelihood = LearnedNormalLikelihood(0.3, num_sds)
    canvas = SummedCanvas(torch.zeros(len(images), 1), torch.zeros(1, *images.shape[1:]), None)
    optimizer = torch.optim.Adam(likelihood.parameters(), lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        (-likelihood(canvas).log_prob(images).mean()).backward()
        optimizer.step()
    return likelihood


def test_a_learned_sd_is_that_of_the_residue():
    sds = torch.tensor([0.05, 0.2, 0.8])
    residue = sds.repeat_interleave(8) * torch.randn(500, NUM_PIXELS)
    of_channels = residue.view(500, 3, 8).square().mean((0, 2)).sqrt()
    torch.testing.assert_close(learned(residue, 3).sd, of_channels, rtol=1e-3, atol=0)
    of_all = residue.square().mean().sqrt()
    torch.testing.assert_close(learned(residue, 1).sd, of_all.view(1), rtol=1e-3, atol=0)


def test_a_learned_sd_does_not_collapse_where_there_is_no_residue():
    (sd,) = learned(torch.zeros(5, NUM_PIXELS), 1).sd.tolist()
    assert LEAST_LEARNED_SD <= sd < 1.1 * LEAST_LEARNED_SD


@pytest.mark.parametrize("sd", ["learned", "learned_per_channel"])
def test_a_learned_sd_starts_at_that_of_the_model(sd):
    air = tiny(num_channels=3, likelihood=NormalConfig("normal", sd), likelihood_sd=0.02)
    torch.testing.assert_close(air.model.likelihood.sd.mean(), torch.tensor(0.02))
    metrics = air.model.likelihood.metrics()
    assert len(metrics) == (1 if sd == "learned" else 3)
    assert list(metrics.values()) == pytest.approx([0.02] * len(metrics))
    with pytest.raises(ConfigError, match=r"^model.likelihood_sd: must be .* above 0.01, .* got 0"):
        tiny(likelihood=NormalConfig("normal", sd), likelihood_sd=0.01)
