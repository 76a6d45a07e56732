"""What lies behind the objects, and what it begins with."""

import pyro
import pytest
import torch
from pyro import poutine

from air.inference.marginal import MarginalELBO
from air.model.config import ImageConfig, VAEConfig
from tests.helpers.models import tiny

IMAGE, PLAIN = ImageConfig("image", plain=False), ImageConfig("image", plain=True)
VAE = VAEConfig("vae", z_background_size=2, encoder_net=[8], decoder_net=[8])


def grounds(n, channels=1):
    """A slope of another steepness in each image."""
    slopes = torch.rand(n, channels, 1, 1) * torch.linspace(0, 1, 6)
    return slopes.expand(-1, -1, 6, -1).contiguous()


@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_begins_with_the_median_of_the_grounds(channels):
    air = tiny(background=IMAGE, num_channels=channels)
    ground = torch.rand(channels, 6, 6) * 0.9 + 0.05
    others = torch.rand(2, channels, 6, 6)
    air.start_at(torch.rand(5, channels, 6, 6), torch.cat((ground.expand(3, -1, -1, -1), others)))
    found = air.model.canvas.background.draw(2, 6)
    torch.testing.assert_close(found, ground.expand(2, -1, -1, -1))


def test_a_plain_one_begins_with_the_median_colour_and_lies_behind_images_of_any_size():
    background = tiny(background=PLAIN, num_channels=3).model.canvas.background
    colour = torch.tensor([0.2, 0.5, 0.8])
    ground = colour[:, None, None].expand(4, 3, 6, 6).clone()
    ground[0, :, :3] = 1.0
    background.start_at(ground, ground)
    torch.testing.assert_close(background.draw(1, 9), colour[:, None, None].expand(1, 3, 9, 9))
    assert background.any_size


def test_black_and_white_can_still_be_learned():
    air = tiny(background=IMAGE)
    air.start_at(torch.zeros(3, 1, 6, 6), torch.zeros(3, 1, 6, 6))
    background = air.model.canvas.background
    background.draw(1, 6).sum().backward()
    assert (background.logits.grad > 0.01).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_a_vae_learns_the_grounds_before_the_first_step(channels):
    air = tiny(background=VAE, num_channels=channels)
    background, images = air.model.canvas.background, grounds(300, channels)
    before = (background.infer(images) - images).square().mean()
    background.start_at(images, images)
    held_out = grounds(100, channels)
    error = (background.infer(held_out) - held_out).square().mean()
    assert error < 0.3 * before
    assert all(parameter.grad is None for parameter in background.parameters())


def test_the_kl_of_a_background_is_part_of_the_bound():
    air, images = tiny(background=VAE), torch.rand(4, 6, 6)
    metrics = MarginalELBO().estimate(air.model, air.guide, images).metrics
    assert list(metrics)[-1] == "kl_background"
    torch.manual_seed(1)
    trace = poutine.trace(air.guide).get_trace(images)
    q = trace.nodes["z_background"]["fn"].base_dist
    kl = 0.5 * (q.loc.square() + q.scale.square() - 2 * q.scale.log() - 1).sum()
    torch.testing.assert_close(metrics["kl_background"], kl.detach())


@pytest.mark.parametrize("kind", [IMAGE, PLAIN, VAE])
def test_it_learns_what_lies_behind(kind):
    torch.manual_seed(1)
    air = tiny(background=kind)
    ground = torch.full((6, 6), 0.3) if kind is PLAIN else torch.rand(6, 6) * 0.8 + 0.1
    svi = pyro.infer.SVI(air.model, air.guide, pyro.optim.Adam({"lr": 0.05}), MarginalELBO())
    for _ in range(200):
        svi.step(ground.expand(8, -1, -1), z_pres_prior_p=lambda t: 1e-6)
    found = air.infer(ground.expand(2, -1, -1)).background
    assert (found - ground).abs().mean() < 0.05


def test_images_of_another_size_are_refused_where_the_background_has_one():
    for kind in (IMAGE, VAE):
        assert len(tiny(background=kind).image_sizes) == 1
