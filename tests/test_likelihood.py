"""The pixel likelihood against Pyro's normal distribution."""

import pyro.distributions as dist
import pytest
import torch

from air.likelihood import PixelNormal


def test_equals_normal_in_value_and_gradient():
    loc = torch.randn(4, 3, 25, dtype=torch.float64, requires_grad=True)
    value = torch.randn(3, 25, dtype=torch.float64)
    ours = PixelNormal(loc, 0.3).log_prob(value)
    theirs = dist.Normal(loc, 0.3).to_event(1).log_prob(value)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(
        *(torch.autograd.grad(log_prob.exp().log().sum(), loc)[0] for log_prob in (ours, theirs))
    )


def test_draws_have_its_moments():
    draws = PixelNormal(torch.tensor([0.0, 1.0, -2.0]), 0.3).sample((20000,))
    torch.testing.assert_close(draws.mean(0), torch.tensor([0.0, 1.0, -2.0]), atol=0.01, rtol=0)
    torch.testing.assert_close(draws.std(0), torch.full((3,), 0.3), atol=0.01, rtol=0)


def test_expand_and_validation():
    expanded = PixelNormal(torch.zeros(3, 25), 0.3).expand([4, 3])
    assert expanded.batch_shape == (4, 3)
    assert expanded.event_shape == (25,)
    with pytest.raises(ValueError, match="support"):
        PixelNormal(torch.zeros(3), 0.3, validate_args=True).log_prob(torch.full((3,), torch.nan))
