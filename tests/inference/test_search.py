"""The search for better explanations against its definition."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Independent, Normal, kl_divergence

from air.inference.estimator import CountBounds, Estimate
from air.inference.marginal import MarginalELBO
from air.inference.objective import Objective
from air.inference.search import CountSearch, cut, log_likelihood, pairs_of_parts, whole_windows
from air.model.canvas import ObjectLatents
from air.model.windows import window_to_image
from tests.helpers.models import tiny

PROBABILITIES = torch.tensor([0.6, 0.3])


def estimated(air, images):
    return MarginalELBO().estimate(
        air.model, air.guide, images, z_pres_prior_p=lambda t: PROBABILITIES[t]
    )


@settings(deadline=None, max_examples=25)
@given(size=st.integers(3, 40), seed=st.integers(0, 1000), num_cuts=st.integers(1, 4))
def test_the_parts_of_a_cut_lie_on_two_sides_of_a_line_and_add_up(size, seed, num_cuts):
    torch.manual_seed(seed)
    images = torch.rand(3, size, size)
    parts = cut(images, num_cuts)
    assert parts.shape == (3, num_cuts, 2, size, size)
    assert torch.equal(parts.sum(2), images[:, None].expand(-1, num_cuts, -1, -1))
    assert not (parts[:, :, 0] * parts[:, :, 1]).any()
    inside = (parts[:, :, 0] > 0).float()
    for direction in (-1, -2):  # a row or a column crosses the line once at most
        assert (inside.diff(dim=direction).abs().sum(direction) <= 1).all()


def test_cuts_leave_a_fair_share_on_both_sides():
    torch.manual_seed(0)
    images = torch.rand(20, 30, 30)
    share = cut(images, 3)[:, :, 0].sum((-1, -2)) / images.sum((-1, -2)).unsqueeze(1)
    assert (share > 0.2).all()
    assert (share < 0.8).all()


def test_cuts_go_between_two_things_rather_than_through_them():
    images = torch.zeros(1, 24, 24)
    left, right = images.clone(), images.clone()
    left[0, 4:20, 5:8] = 1
    right[0, 4:20, 12:15] = 1
    torch.manual_seed(0)
    parts = torch.cat([cut(left + right, 1) for _ in range(50)])[:, 0]  # (50, 2, 24, 24)
    between = [
        {tuple(part.flatten().tolist()) for part in pair}
        == {tuple(left.flatten().tolist()), tuple(right.flatten().tolist())}
        for pair in parts
    ]
    assert sum(between) >= 48


def test_an_image_without_anything_is_searched_without_harm():
    model = tiny()
    images = torch.zeros(2, 6, 6)
    best = CountSearch(1.0, 2, 2, 0.0).best_bounds(model, images, estimated(model, images).counts)
    assert best.isfinite().all()


def test_bounds_of_the_counts_make_up_the_elbo():
    model = tiny(num_steps=3)
    loss, metrics, bounds = MarginalELBO().estimate(
        model.model, model.guide, torch.rand(4, 6, 6), z_pres_prior_p=lambda t: torch.tensor(0.4)
    )
    assert bounds.elbo.shape == bounds.log_q.shape == (4, 4)
    assert not bounds.elbo.requires_grad
    torch.testing.assert_close(
        (bounds.log_q.exp() * (bounds.elbo - bounds.log_q)).sum(), metrics["elbo"]
    )
    torch.testing.assert_close(loss.detach(), -metrics["elbo"])
    torch.testing.assert_close(
        bounds.log_prior, torch.tensor([0.6, 0.4 * 0.6, 0.4 * 0.4 * 0.6, 0.4**3]).log()
    )


def test_log_likelihood_is_normal_around_the_sum_of_the_objects():
    model = tiny()
    images = torch.rand(3, 6, 6)
    pairs = pairs_of_parts(model.model, model.guide, images, 2)
    canvas = model.model.render(ObjectLatents(torch.ones(6, 2), pairs.z_where, pairs.z_what))
    expected = Normal(canvas, 0.5).log_prob(images.repeat_interleave(2, 0)).sum((-1, -2))
    torch.testing.assert_close(log_likelihood(model.model, images, pairs), expected)


def test_a_pair_is_what_the_guide_finds_first_in_either_part(monkeypatch):
    model = tiny()
    images = torch.rand(3, 6, 6)
    parts = cut(images, 2)
    monkeypatch.setattr("air.inference.search.cut", lambda images, num_cuts: parts)
    pairs = pairs_of_parts(model.model, model.guide, images, 2)
    assert pairs.z_where.shape == (6, 2, 3)
    assert pairs.z_what.shape == (6, 2, 2)
    # z_where's distribution does not depend on a draw: it is that of `infer`'s means.
    seen = parts.flatten(0, 2)
    with torch.no_grad():
        gates = model.rnn.embedding_gates(model.guide.attention.embed(seen))
        latents = torch.cat(
            (model.guide.z_where_init, model.guide.z_what_init, torch.ones(1))
        ).unsqueeze(0)
        hidden = model.rnn(gates, latents, model.rnn.initial_state())[0]
        _, loc, scale = model.predict(hidden)
    q = Normal(model.model.z_where_prior.mean + loc, model.model.z_where_prior.sd * scale)
    prior = Normal(model.model.z_where_prior.mean, model.model.z_where_prior.sd)
    kl_where = kl_divergence(q, prior).sum(-1).view(6, 2).sum(-1)
    assert (pairs.kl > kl_where).all()  # and something for z_what
    standard = (pairs.z_where.flatten(0, 1) - q.mean) / q.stddev
    assert standard.abs().max() < 6


@pytest.mark.parametrize("kind", ["pairs", "windows"])
def test_a_bound_is_below_the_evidence(kind):
    """E log p(x, z, n) / q(z) is at most log p(x, n), here from many draws of the prior."""
    torch.manual_seed(0)
    model = tiny()
    images = torch.rand(2, 6, 6)
    count = 2 if kind == "pairs" else 1
    with torch.no_grad():
        drawn = model.model.draw(200_000, lambda t: 0.5).objects
        z_pres = (torch.arange(2) < count).float().expand(200_000, -1)
        canvas = model.model.render(drawn._replace(z_pres=z_pres))
        evidence = torch.stack(
            [
                Independent(Normal(canvas, 0.5), 2).log_prob(image).logsumexp(0) - math.log(200_000)
                for image in images
            ]
        )
        if kind == "pairs":
            found = pairs_of_parts(model.model, model.guide, images, 1)
        else:
            found = whole_windows(model.model, model.guide, images, torch.full((2, 3), 0.1), 200)
        bound = (log_likelihood(model.model, images, found) - found.kl).view(2, -1).mean(-1)
    assert (bound < evidence + 0.05).all()


def test_a_window_over_everything_beats_a_guide_that_looks_elsewhere():
    model = tiny(x_size=20, window_size=6, scale_prior_mean=3.0, decoder_output_bias=4.0)
    place = torch.tensor([[3.0, 1.5, -1.2]])
    images = window_to_image(place, torch.ones(1, 6, 6), 20)
    found = whole_windows(model.model, model.guide, images, torch.full((1, 3), 0.01), 4)
    torch.testing.assert_close(found.z_where[:, 0], place.expand(4, -1), atol=0.4, rtol=0)
    bounds = estimated(model, images).counts  # an untrained guide looks at the middle
    best = CountSearch(1.0, 1, 4, 0.0).best_bounds(model, images, bounds)
    assert best[1] > bounds.elbo[1] + 10


def test_no_bound_is_worse_for_the_search():
    model = tiny(num_steps=3)
    images = torch.rand(5, 6, 6)
    bounds = MarginalELBO().estimate(model.model, model.guide, images).counts
    best = CountSearch(1.0, 2, 2, 0.0).best_bounds(model, images, bounds)
    assert best.shape == (4, 5)
    assert (best >= bounds.elbo).all()
    assert torch.equal(best[[0, 3]], bounds.elbo[[0, 3]])


def test_the_guide_is_taught_the_count_that_stands_out(monkeypatch):
    model = tiny()
    logits = torch.tensor([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1]]).T.log().requires_grad_()
    bounds = CountBounds(torch.zeros(3, 2), logits, torch.zeros(3), torch.ones(2, 3))
    best = torch.tensor([[0.0, 4.0, 10.0], [0.0, 3.0, 3.5]]).T  # the second stands out by 0.5
    monkeypatch.setattr(CountSearch, "best_bounds", lambda *_: best)
    images = torch.rand(2, 6, 6)
    estimate = Estimate(torch.tensor(0.0), {}, bounds)
    loss = CountSearch(1.0, 1, 1, margin=5.0)(model, images, estimate)
    torch.testing.assert_close(loss.detach(), torch.tensor(-math.log(0.3) / 2))
    loss = CountSearch(1.0, 1, 1, margin=0.1)(model, images, estimate)
    torch.testing.assert_close(loss.detach(), torch.tensor(-(math.log(0.3) + math.log(0.1)) / 2))


def test_the_guide_alone_learns_from_the_search():
    model = tiny()
    images = torch.rand(8, 6, 6)
    CountSearch(1.0, 1, 1, 0.0)(model, images, estimated(model, images)).backward()
    taught = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert any(name.startswith("guide.attention.predict") for name in taught)
    assert not [name for name in taught if name.startswith("model.")]


def test_objective_adds_the_search_of_its_images():
    model = tiny()
    batch = torch.rand(5, 6, 6)
    search = CountSearch(0.7, 1, 2, 0.0)
    torch.manual_seed(3)
    loss, metrics, _ = Objective(MarginalELBO(), [search])(model, batch, PROBABILITIES)
    torch.manual_seed(3)
    estimate = estimated(model, batch)
    found = search(model, batch, estimate) * 5  # the same random numbers
    torch.testing.assert_close(loss, estimate.loss + 0.7 * found)
    torch.testing.assert_close(metrics["search"], found.detach())
