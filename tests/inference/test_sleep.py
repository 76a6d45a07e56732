"""The sleep phase against its definition."""

import itertools

import pytest
import torch
from pyro import poutine

from air.cli.compose import compose_config
from air.inference.marginal import MarginalELBO
from air.inference.objective import Objective
from air.inference.sleep import Dreams, Recall, SleepPhase, found_codes, near, recalled
from air.model.attention.look import Places, hottest
from air.model.canvas import ObjectLatents
from air.model.full_path import full_path
from tests.helpers.models import tiny

NO_IMAGES = torch.empty(0, 6, 6)  # codes of the prior need none


def test_dreams_are_scenes_of_the_model_with_uniform_counts():
    model = tiny(num_steps=3)
    torch.manual_seed(0)
    objects, images, _ = SleepPhase(1.0, 4000, max_objects=2).dream(model, NO_IMAGES)
    counts = objects.z_pres.sum(-1).long()
    torch.testing.assert_close(
        counts.bincount(minlength=4) / 4000,
        torch.tensor([1.0, 1.0, 1.0, 0.0]) / 3,
        atol=0.03,
        rtol=0,
    )
    assert (objects.z_pres.diff(dim=-1) <= 0).all()
    torch.testing.assert_close(images, model.model.render(objects).clamp(0, 1))
    assert not images.requires_grad
    z_where = objects.z_where.flatten(0, 1)
    torch.testing.assert_close(z_where.mean(0), model.model.z_where_prior.mean, atol=0.05, rtol=0)
    torch.testing.assert_close(z_where.std(0), model.model.z_where_prior.sd, atol=0.05, rtol=0)


def test_a_dream_has_no_more_objects_than_the_model_has_steps():
    objects = SleepPhase(1.0, 500, max_objects=9).dream(tiny(num_steps=2), NO_IMAGES).objects
    assert objects.z_pres.sum(-1).max() == 2


def test_without_a_limit_dreams_have_up_to_num_steps_objects():
    objects = SleepPhase(1.0, 500).dream(tiny(num_steps=3), NO_IMAGES).objects
    assert set(objects.z_pres.sum(-1).tolist()) == {0.0, 1.0, 2.0, 3.0}


def test_the_same_seed_dreams_the_same():
    air = tiny(x_size=36, num_steps=3)
    dreamt = []
    for seed in (2, 2, 3):
        torch.manual_seed(seed)
        phase = SleepPhase(1.0, 5, codes="posterior", num_places=4, touching=0.5)
        dreamt.append(phase.dream(air, torch.ones(2, 36, 36)).images)
    assert torch.equal(dreamt[0], dreamt[1])
    assert not torch.equal(dreamt[0], dreamt[2])


def test_codes_of_the_posterior_are_those_of_objects_found_as_often_as_they_are_there():
    model = tiny()
    images = torch.rand(3, 6, 6)
    torch.manual_seed(0)
    codes = found_codes(full_path(model.guide, images), 20_000)
    torch.manual_seed(0)
    all_present = {f"z_pres_{t}": torch.ones(3, 1) for t in range(2)}
    guide = poutine.condition(model.guide, data=all_present)
    nodes = poutine.trace(guide).get_trace(images).nodes
    candidates = torch.stack([nodes[f"z_what_{t}"]["value"] for t in range(2)], 1).flatten(0, 1)
    probability = 1 - model.infer(images).count_probs.cumsum(-1)[:, :-1]  # more than t objects
    for t in range(2):  # the probability depends on the draws only through the first step's
        logit = nodes[f"z_pres_{t}"]["fn"].base_dist.logits.sigmoid()[:, 0]
        probability[:, t] = logit if t == 0 else probability[:, 0] * logit
    share = probability.flatten() / probability.sum()
    found = (codes.unsqueeze(1) == candidates).all(-1).double()
    assert (found.sum(1) == 1).all()  # each is one of the candidates
    torch.testing.assert_close(found.mean(0), share.double().detach(), atol=0.015, rtol=0)
    path = full_path(model.guide, images)
    for given in (path, None):
        dreamt = SleepPhase(1.0, 7, codes="posterior").dream(model, images, given).objects
        assert dreamt.z_what.shape == (7, 2, 2)
        assert not dreamt.z_what.requires_grad
        of_the_path = (dreamt.z_what.unsqueeze(-2) == path.z_what.flatten(0, 1)).all(-1).any(-1)
        assert of_the_path.all() == (given is not None)


@pytest.mark.parametrize("use_masking", [True, False])
def test_log_q_of_a_dream_is_that_of_the_guide_in_the_order_it_prefers(use_masking):
    model = tiny(num_steps=3, use_masking=use_masking).double()
    torch.manual_seed(1)
    dreams = SleepPhase(1.0, 6, max_objects=3).dream(model, NO_IMAGES)
    dreams = dreams._replace(images=dreams.images.double())
    log_q = recalled(model.guide, dreams)
    for i, image in enumerate(dreams.images):
        count = int(dreams.objects.z_pres[i].sum())
        in_each_order = {
            order: _log_q(model, image, dreams.objects, i, order)
            for order in itertools.permutations(range(count))
        }
        chosen: tuple[int, ...] = ()
        for t in range(count):  # greedily: the likeliest of those left, given the ones before
            chosen = max(
                {order[: t + 1] for order in in_each_order if order[:t] == chosen},
                key=lambda start: next(
                    terms[1][t] for order, terms in in_each_order.items() if order[: t + 1] == start
                ),
            )
        z_pres_terms, z_where_terms = in_each_order[chosen]
        torch.testing.assert_close(log_q[i], z_pres_terms.sum() + z_where_terms.sum())


def _log_q(model, image, objects, i, order):
    """Log q of each z_pres and z_where of a scene, told in a given order."""
    given = {}
    for t in range(model.num_steps):
        present = t < len(order)
        given[f"z_pres_{t}"] = image.new_full((1, 1), float(present))
        if present:
            given[f"z_where_{t}"] = objects.z_where[i, order[t]].unsqueeze(0)
            given[f"z_what_{t}"] = objects.z_what[i, order[t]].unsqueeze(0)
    trace = poutine.trace(poutine.condition(model.guide, data=given)).get_trace(image.unsqueeze(0))
    nodes = trace.nodes
    scored = [nodes[f"z_pres_{t}"] for t in range(model.num_steps)]
    placed = [nodes[f"z_where_{t}"] for t in range(len(order))]
    return tuple(
        torch.tensor([site["fn"].log_prob(site["value"]).item() for site in sites]).double()
        for sites in (scored, placed)
    )


def test_the_guide_alone_learns_from_dreams():
    model = tiny()
    torch.manual_seed(0)
    SleepPhase(1.0, 20, max_objects=2)(model, NO_IMAGES).backward()
    taught = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert {"guide.attention.predict.mlp.layers.0.weight"} <= taught
    assert not [name for name in taught if name.startswith(("model.", "guide.encode"))]


def test_objective_adds_as_many_dreams_as_images():
    model = tiny()
    batch, probabilities = torch.rand(5, 6, 6), torch.tensor([0.6, 0.3])
    phase = SleepPhase(0.7, 20, max_objects=2)
    torch.manual_seed(3)
    loss, metrics, _ = Objective(MarginalELBO(), [phase])(model, batch, probabilities)
    torch.manual_seed(3)
    plain, plain_metrics, _ = Objective(MarginalELBO())(model, batch, probabilities)
    sleep = phase(model, batch) * 5  # the same dreams: the same random numbers are next
    torch.testing.assert_close(loss, plain + 0.7 * sleep)
    torch.testing.assert_close(metrics.pop("sleep"), sleep.detach())
    torch.testing.assert_close(metrics.pop("loss"), loss.detach())
    torch.testing.assert_close(plain_metrics.pop("loss"), plain.detach())
    assert metrics == plain_metrics


def test_dreams_teach_the_guide_to_count():
    """With the decoder as it is, the guide comes to tell 0, 1 and 2 objects apart."""
    torch.manual_seed(0)
    model = tiny(x_size=12, decoder_output_bias=2.0, scale_prior_mean=3.0, rnn_hidden_size=32)
    phase = SleepPhase(1.0, 64, max_objects=2)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)

    def wrong() -> float:
        objects, images, _ = phase.dream(model, NO_IMAGES)
        return (model.infer(images).count != objects.z_pres.sum(-1)).double().mean().item()

    for _ in range(300):
        optimizer.zero_grad()
        phase(model, NO_IMAGES).backward()
        optimizer.step()
    torch.manual_seed(1)
    assert sum(wrong() for _ in range(8)) / 8 < 0.25


def test_dreams_can_be_told_by_hand():
    """One object in the middle, told as the first or the second of two equal ones: the same."""
    model = tiny()
    one, two = torch.tensor([[1.5, 0.3, -0.2]]), torch.tensor([[1.4, -0.5, 0.4]])
    z_what = torch.zeros(1, 2, 2)
    results = []
    for z_where in (torch.stack((one, two), 1), torch.stack((two, one), 1)):
        objects = ObjectLatents(torch.ones(1, 2), z_where, z_what)
        results.append(recalled(model.guide, Dreams(objects, torch.full((1, 6, 6), 0.5))))
    torch.testing.assert_close(*results)


def test_objects_are_told_after_those_that_hide_them_and_hidden_ones_not_at_all():
    model = tiny(num_steps=3).double()
    torch.manual_seed(2)
    z_where = model.model.z_where_prior.mean + torch.randn(1, 3, 3).double()
    objects = ObjectLatents(torch.ones(1, 3).double(), z_where, torch.randn(1, 3, 2).double())
    image, none = torch.rand(1, 6, 6).double(), torch.zeros(1, 3, 3).double()

    def told(*order):
        z_pres_terms, z_where_terms = _log_q(model, image[0], objects, 0, order)
        return (z_pres_terms.sum() + z_where_terms.sum()).view(1)

    def recall(hidden):
        return recalled(model.guide, Dreams(objects, image, hidden))

    torch.testing.assert_close(recall(none), recall(None))
    for order in itertools.permutations(range(3)):
        hidden = none.clone()
        for before, after in itertools.pairwise(order):
            hidden[0, after, before] = 0.3
        torch.testing.assert_close(recall(hidden), told(*order))
        hidden[0, order[2], order[1]] = 0.9  # the last one is hardly seen
        torch.testing.assert_close(recall(hidden), told(*order[:2]))


def test_places_near_an_object_are_around_its_centre():
    objects = ObjectLatents(
        torch.ones(1, 4),
        # Centres at (0.2, -0.4), in a corner, far outside, and a window smaller than a place.
        torch.tensor([[[2.0, -0.4, 0.8], [2.0, 1.9, 1.9], [2.0, -9.0, 0.0], [50.0, 10.0, 10.0]]]),
        torch.zeros(1, 4, 1),
    )
    centres = torch.linspace(-0.9, 0.9, 10)
    found = near(objects, centres).view(4, 10, 10)
    rows, columns = torch.meshgrid(centres, centres, indexing="ij")
    expected = ((columns - 0.2).abs() <= 0.45) & ((rows + 0.4).abs() <= 0.45)
    assert torch.equal(found[0], expected)
    assert found[1, 0, 0]
    assert found[2].any()
    assert not found[2, :, :-5].any()
    assert found[3].sum() in (1, 2, 4)


def test_a_guide_that_would_look_at_no_object_in_front_is_told_to_look_at_one():
    objects = ObjectLatents(
        torch.tensor([[1.0, 1.0, 0.0]]),
        torch.tensor([[[4.0, 2.0, 2.0], [4.0, -2.0, -2.0], [4.0, 0.0, 0.0]]]),
        torch.zeros(1, 3, 1),
    )
    centres = torch.linspace(-0.9, 0.9, 10)
    torch.manual_seed(0)
    around = near(objects, centres)[0]  # (3, 100)
    nowhere = ~around[:2].any(0)
    hottest_at = {"first": around[0], "second": around[1], "none": nowhere}
    second_in_front = torch.zeros(1, 3, 3)
    second_in_front[0, 0, 1] = 0.3
    for name, region in hottest_at.items():
        heat = torch.randn(1, 100)
        heat[0, int(region.nonzero()[0])] = 9.0
        log_q = heat.log_softmax(-1)
        of_objects = torch.stack([log_q[0, each].logsumexp(0) for each in around])
        for hidden, told in ((None, int(of_objects[:2].argmax())), (second_in_front, 1)):
            recall = Recall(objects, hidden)
            place = recall.choose_place(Places(heat, centres))
            if name == "second" or (name == "first" and hidden is None):  # it would look at one
                assert torch.equal(place, heat.argmax(-1, keepdim=True))
                assert recall.log_q == 0
            else:
                among = log_q.masked_fill(~around[told], -torch.inf)
                assert torch.equal(place, among.argmax(-1, keepdim=True))
                torch.testing.assert_close(recall.log_q, of_objects[told].view(1))
    none = Recall(objects._replace(z_pres=torch.zeros(1, 3)), None)
    assert torch.equal(none.choose_place(Places(heat, centres)), heat.argmax(-1, keepdim=True))
    assert none.log_q == 0


def test_only_where_objects_cover_one_another_a_map_is_told_where_to_look():
    attention = compose_config(("attention=map",)).attention
    model = tiny(num_steps=1, attention=attention, x_size=40).double()
    image, guide = torch.rand(1, 40, 40).double(), model.guide
    seen = []

    def look(places):
        seen.append(places)
        return hottest(places)

    guide(image, choose_place=look)
    (places,) = seen
    coldest = int(places.heat.argmin())
    centre = torch.stack((places.centres[coldest % 8], places.centres[coldest // 8]))
    z_where = torch.cat((torch.tensor([9.0]).double(), -9 * centre)).view(1, 1, 3)
    objects = ObjectLatents(torch.ones(1, 1).double(), z_where, torch.zeros(1, 1, 2).double())
    assert near(objects, places.centres).sum() == 1
    told = recalled(guide, Dreams(objects, image, torch.zeros(1, 1, 1).double()))
    left_alone = recalled(guide, Dreams(objects, image))
    place = places.heat.log_softmax(-1)[:, coldest]
    # It is surer of what lies where it looks than of what lies elsewhere.
    assert (told - place > left_alone).all()
