"""The likelihood of a sum of objects against Pyro's normal distribution around their canvas."""

import pyro.distributions as dist
import pytest
import torch

from air.model.compositing.sum import SummedCanvas
from air.model.likelihood.normal import CanvasNormal


def objects_and_choices(num_steps=3, dtype=torch.float64):
    objects = torch.randn(5, num_steps, 25, dtype=dtype, requires_grad=True)
    counts = torch.arange(num_steps + 1).view(-1, 1, 1)
    z_pres = (counts > torch.arange(num_steps)).to(dtype).expand(-1, 5, -1).clone()
    return objects, z_pres.requires_grad_()


def around(z_pres, objects, background=None, **arguments):
    return CanvasNormal(SummedCanvas(z_pres, objects, background), 0.3, **arguments)


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("num_steps", [1, 3, 6])
def test_equals_normal_in_value_and_gradient(num_steps, behind):
    objects, z_pres = objects_and_choices(num_steps)
    background = torch.randn(5, 25, dtype=torch.float64) if behind else None
    value = torch.randn(5, 25, dtype=torch.float64, requires_grad=True)
    canvas = torch.einsum("cnt,ntp->cnp", z_pres, objects)
    canvas = canvas + background if behind else canvas
    torch.testing.assert_close(SummedCanvas(z_pres, objects, background).pixels, canvas)
    ours = around(z_pres, objects, background).log_prob(value)
    theirs = dist.Normal(canvas, 0.3).to_event(1).log_prob(value)
    torch.testing.assert_close(ours, theirs)
    weights = torch.rand_like(ours)
    for one, other in zip(
        *(
            torch.autograd.grad((weights * log_prob).sum(), (objects, z_pres, value))
            for log_prob in (ours, theirs)
        ),
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


def test_expand_and_validation():
    objects, z_pres = objects_and_choices()
    expanded = around(z_pres[1], objects).expand([4, 5])
    assert expanded.batch_shape == (4, 5)
    assert expanded.event_shape == (25,)
    value = torch.randn(5, 25, dtype=torch.float64)
    torch.testing.assert_close(
        expanded.log_prob(value),
        around(z_pres, objects).log_prob(value)[[1] * 4],
    )
    with pytest.raises(ValueError, match="support"):
        around(z_pres, objects, validate_args=True).log_prob(value * torch.nan)
