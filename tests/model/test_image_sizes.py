"""Images of another size than the model's: the same objects are found in them, at the same cost."""

import pyro
import pytest
import torch
from pyro import poutine
from torch.distributions import Normal, kl_divergence

from air.inference.marginal import MarginalELBO
from air.inference.reinforce import ReinforceELBO
from air.model.background.none import NoBackground
from air.model.windows import WherePrior
from tests.helpers.any_size import LARGE, LEFT, SMALL, TOP, any_size, on_larger, scenes
from tests.helpers.models import tiny


def test_the_prior_grows_with_the_image():
    prior = WherePrior(50, 3.0, 0.1, 0.25, 1.5)
    for size in (None, 50):
        mean, sd = prior.moments(size)
        assert mean is prior.mean  # bit for bit what it is without other sizes
        assert sd is prior.sd
    mean, sd = prior.moments(100)
    torch.testing.assert_close(mean, torch.tensor([6.0, 0.5, 0.5]))
    torch.testing.assert_close(sd, torch.tensor([0.2, 3.0, 3.0]))
    assert 100 / mean[0] == pytest.approx(50 / 3)  # pixels of a window
    assert (sd[1] / mean[0]).item() == pytest.approx(0.5)  # of the canvas: spread of centres


def test_a_scene_on_a_larger_canvas_has_the_same_objects():
    air, images = any_size(), scenes()
    small, large = air.infer(images), air.infer(on_larger(images))
    assert torch.equal(small.count, large.count)
    torch.testing.assert_close(small.count_probs, large.count_probs)
    shift = torch.tensor([LEFT, TOP, LEFT, TOP])
    torch.testing.assert_close(small.z_what, large.z_what)
    torch.testing.assert_close(small.boxes + shift, large.boxes)
    torch.testing.assert_close(on_larger(small.reconstruction), large.reconstruction)
    assert large.reconstruction.shape == (6, LARGE, LARGE)


def test_densities_differ_by_the_black_pixels_and_the_places_alone():
    air, images = any_size(), scenes(2)
    larger = on_larger(images)
    small, large = air.infer(images), air.infer(larger)
    traces = []
    for found, seen in ((small, images), (large, larger)):
        values = {
            f"z_{name}_{t}": getattr(found, f"z_{name}")[:, t]
            for name in ("where", "what")
            for t in range(3)
        }
        values |= {f"z_pres_{t}": torch.ones(2, 1, dtype=torch.float64) for t in range(3)}
        trace = poutine.trace(poutine.condition(air.model, values)).get_trace(seen)
        trace.compute_log_prob()
        traces.append(trace.nodes)
    of_small, of_large = traces
    black = (LARGE**2 - SMALL**2) * Normal(0.0, air.model.likelihood.sd).log_prob(torch.zeros(()))
    torch.testing.assert_close(
        of_large["obs"]["log_prob"], of_small["obs"]["log_prob"] + black, check_dtype=False
    )
    for t in range(3):
        what, where = f"z_what_{t}", f"z_where_{t}"
        torch.testing.assert_close(of_large[what]["log_prob"], of_small[what]["log_prob"])
        ratio = LARGE / SMALL
        prior = Normal(ratio * torch.tensor([3.0, 0, 0]), ratio * torch.tensor([0.1, 1, 1]))
        expected = prior.log_prob(large.z_where[:, t]).sum(-1)
        torch.testing.assert_close(of_large[where]["log_prob"], expected)


def test_an_objects_price_does_not_depend_on_the_units_of_its_place():
    air = any_size()
    q_where = Normal(torch.rand(4, 3).double() + 1, torch.rand(4, 3).double() + 0.1)
    ratio = LARGE / SMALL
    grown = Normal(q_where.loc * ratio, q_where.scale * ratio)
    torch.testing.assert_close(
        kl_divergence(grown, air.model.where_prior(4, LARGE)),
        kl_divergence(q_where, air.model.where_prior(4)),
    )


@pytest.mark.parametrize("estimator", [MarginalELBO, ReinforceELBO])
@pytest.mark.parametrize("baseline_decay", [None, 0.9])
def test_programs_run_on_images_of_any_size(estimator, baseline_decay):
    decaying = {"use_baselines": True, "baseline_decay": baseline_decay} if baseline_decay else {}
    air, images = any_size(**decaying), on_larger(scenes())
    loss = pyro.infer.SVI(air.model, air.guide, pyro.optim.Adam({"lr": 1e-3}), estimator())
    assert torch.tensor(loss.step(images)).isfinite()


def test_the_prior_draws_images_of_any_size():
    air = any_size()
    torch.manual_seed(0)
    (z_where, _), images = air.prior(4000, x_size=LARGE)
    assert images.shape == (4000, LARGE, LARGE)
    assert z_where[0][:, 0].mean().item() == pytest.approx(3 * LARGE / SMALL, rel=0.01)
    assert z_where[0][:, 1].std().item() == pytest.approx(LARGE / SMALL, rel=0.05)
    torch.manual_seed(0)
    _, own = air.prior(4)
    torch.manual_seed(0)
    _, same = air.prior(4, x_size=SMALL)
    assert torch.equal(own, same)


def test_how_many_images_at_a_time_makes_no_difference():
    air, images = any_size(), on_larger(scenes(3), 30, 20, 80)
    together, alone = air.infer(images.repeat(5, 1, 1)), air.infer(images)
    torch.testing.assert_close(together.boxes[12:], alone.boxes)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 3, 3), r"\(N, S, S\), S at least 4, N at least 1, got \(2, 3, 3\)"),
        ((2, 8, 9), r"got \(2, 8, 9\)"),
        ((0, 8, 8), r"got \(0, 8, 8\)"),
    ],
)
def test_bad_sizes(shape, message):
    with pytest.raises(ValueError, match=message):
        any_size().infer(torch.zeros(shape))


def test_one_part_with_a_fixed_input_is_enough_to_need_the_models_own_size():
    class Fixed(NoBackground):
        any_size = False

    class FixedChoice:
        def build(self, sizes):
            return Fixed()

    assert LARGE in any_size().image_sizes
    for air in (tiny(x_size=SMALL), any_size(background=FixedChoice()),
                any_size(use_baselines=True)):  # fmt: skip
        assert list(air.image_sizes) == [SMALL]
        with pytest.raises(ValueError, match=r"\(N, 12, 12\), N at least 1, got \(1, 20, 20\)"):
            air.infer(torch.zeros(1, LARGE, LARGE))
