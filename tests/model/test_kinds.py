"""Kinds of every part of the model together, in grey and in colour: every two of them at once."""

import itertools

import pyro
import pytest
import torch

from air.acceleration.recording import RecordedGradients
from air.inference.marginal import MarginalELBO
from air.inference.objective import Objective
from air.inference.sleep import SleepPhase
from air.model.config import (
    BernoulliConfig,
    DifferenceConfig,
    ImageConfig,
    MapConfig,
    NoBackgroundConfig,
    NormalConfig,
    OverConfig,
    RecurrentConfig,
    SumConfig,
    VAEConfig,
)
from tests.helpers.estimators import ESTIMATORS
from tests.helpers.gradients import along_the_gradient
from tests.helpers.models import tiny

PARTS = {
    "attention": {
        "recurrent": RecurrentConfig("recurrent"),
        "difference": DifferenceConfig("difference"),
        "map": MapConfig("map", 2, [5, 5], presence_net=[4], inhibition_width=0.4),
    },
    "background": {
        "none": NoBackgroundConfig("none"),
        "image": ImageConfig("image", plain=False),
        "vae": VAEConfig("vae", z_background_size=2, encoder_net=[8], decoder_net=[8]),
    },
    "compositing": {"sum": SumConfig("sum"), "over": OverConfig("over")},
    "num_channels": {"1": 1, "3": 3},
    "likelihood": {
        "fixed": NormalConfig("normal", "fixed"),
        "learned": NormalConfig("normal", "learned"),
        "per_channel": NormalConfig("normal", "learned_per_channel"),
        "bernoulli": BernoulliConfig("bernoulli", 0.01),
    },
}
# All of them together would be four times as many for every test. A mistake needs no more than two.
CHOSEN = (
    "recurrent none sum 1 fixed",
    "recurrent image over 1 bernoulli",
    "recurrent vae sum 3 per_channel",
    "difference none over 3 per_channel",
    "difference image sum 1 learned",
    "difference vae over 1 fixed",
    "map none sum 1 learned",
    "map image over 3 bernoulli",
    "map vae sum 3 fixed",
)


def kinds_of(names):
    return {part: PARTS[part][name] for part, name in zip(PARTS, names, strict=True)}


def case(names):
    return pytest.param(kinds_of(names), id="-".join(names))


KINDS = [case(names.split()) for names in CHOSEN]
# With the paper's attention the gradient has no bias, whatever else there is.
RECURRENT = [
    case(("recurrent", background, compositing, channels, likelihood))
    for background in PARTS["background"]
    for compositing, channels, likelihood in (
        ("sum", "1", "fixed"),
        ("sum", "3", "learned"),
        ("over", "3", "per_channel"),
        ("over", "1", "bernoulli"),
    )
]


def batch_of(kinds, n=4):
    batch = torch.rand(n, 6, 6) if kinds["num_channels"] == 1 else torch.rand(n, 6, 6, 3)
    return batch.round() if kinds["likelihood"].kind == "bernoulli" else batch


def test_every_two_options_meet():
    *parts, likelihood = PARTS  # of which one goes with one compositing, and one with colour
    met = {pair for names in CHOSEN for pair in itertools.combinations(names.split(), 2)}
    for one, other in itertools.combinations(parts, 2):
        assert set(itertools.product(PARTS[one], PARTS[other])) <= met
    assert {pair[1] for pair in met} >= PARTS[likelihood].keys()


@pytest.mark.parametrize("kinds", KINDS)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_svi_trains_all_of_it(kinds, estimator):
    air = tiny(**kinds, use_baselines=estimator == "reinforce")
    before = {name: value.clone() for name, value in air.named_parameters()}
    svi = pyro.infer.SVI(
        air.model, air.guide, pyro.optim.Adam({"lr": 0.1}), ESTIMATORS[estimator]()
    )
    for _ in range(3):
        svi.step(batch_of(kinds, 8), batch_size=4)
    unchanged = {name for name, value in air.named_parameters() if torch.equal(value, before[name])}
    if kinds["attention"].kind == "map":
        unchanged -= {"guide.z_where_init", "guide.z_what_init"}  # which it does not look at
    assert unchanged == set()


@pytest.mark.parametrize("kinds", KINDS)
def test_a_recorded_step_is_the_eager_one_and_dreams_teach_the_guide_alone(kinds):
    air, batch = tiny(**kinds), batch_of(kinds, 8)
    dreams = SleepPhase(10.0, 8, codes="posterior", num_places=3, noise=True)
    dreams(air, batch).backward()
    taught = {name for name, value in air.named_parameters() if value.grad is not None}
    assert taught
    assert all(
        name.startswith(("guide.attention.", "guide.z_", "guide.encode.")) for name in taught
    )
    air.zero_grad()
    objective, probabilities = Objective(MarginalELBO(), [dreams]), torch.full((2,), 0.4)
    with torch.random.fork_rng():
        estimate = objective(air, batch, probabilities)
        expected = torch.autograd.grad(estimate.loss, list(air.parameters()), allow_unused=True)
    recorded = RecordedGradients(objective, air, batch)
    with torch.random.fork_rng():
        metrics = recorded(batch, probabilities)
    torch.testing.assert_close(metrics["loss"], estimate.loss.detach())
    for parameter, gradient in zip(air.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kinds", KINDS)
def test_what_is_inferred_has_the_images_shape_and_makes_up_the_reconstruction(kinds):
    air, images = tiny(**kinds), batch_of(kinds)
    found = air.infer(images)
    assert found.reconstruction.shape == images.shape
    assert found.segmentation.shape == (4, 6, 6)
    assert (found.segmentation <= found.count[:, None, None]).all()
    assert (found.background is None) == (kinds["background"].kind == "none")
    _, drawn = air.prior(3)
    assert drawn.shape == (3, *images.shape[1:])
    with pytest.raises(ValueError, match="images must have the shape"):
        air.infer(torch.rand(2, 6, 6, 3) if images.ndim == 3 else torch.rand(2, 6, 6))


@pytest.mark.parametrize("kinds", RECURRENT)
def test_with_the_papers_attention_the_gradient_has_no_bias(kinds):
    torch.manual_seed(1)
    length, slope = along_the_gradient(tiny(**kinds).double(), batch_of(kinds).double())
    assert slope == pytest.approx(length, rel=1e-6)
