"""Every attention with every background and compositing, in grey and in colour."""

import pyro
import pytest
import torch

from air.acceleration.recording import RecordedGradients
from air.inference.marginal import MarginalELBO
from air.inference.objective import Objective
from air.inference.reinforce import ReinforceELBO
from air.inference.sleep import SleepPhase
from air.model.config import (
    DifferenceConfig,
    ImageConfig,
    MapConfig,
    NoBackgroundConfig,
    OverConfig,
    RecurrentConfig,
    SumConfig,
    VAEConfig,
)
from tests.helpers.gradients import along_the_gradient
from tests.helpers.models import tiny

ATTENTIONS = (
    RecurrentConfig("recurrent"),
    DifferenceConfig("difference"),
    MapConfig("map", cell_size=2, channels=[5, 5], presence_net=[4], inhibition_width=0.4),
)
BACKGROUNDS = (
    NoBackgroundConfig("none"),
    ImageConfig("image", plain=False),
    VAEConfig("vae", z_background_size=2, encoder_net=[8], decoder_net=[8]),
)
COMPOSITINGS = (SumConfig("sum"), OverConfig("over"))
KINDS = [
    pytest.param(
        {"attention": a, "background": b, "compositing": c, "num_channels": channels},
        id=f"{a.kind}-{b.kind}-{c.kind}-{channels}",
    )
    for a in ATTENTIONS
    for b in BACKGROUNDS
    for c in COMPOSITINGS
    for channels in (1, 3)
]


def batch_of(kinds, n=4):
    return torch.rand(n, 6, 6) if kinds["num_channels"] == 1 else torch.rand(n, 6, 6, 3)


@pytest.mark.parametrize("kinds", KINDS)
@pytest.mark.parametrize("estimator", [MarginalELBO, ReinforceELBO])
def test_svi_trains_all_of_it(kinds, estimator):
    air = tiny(**kinds, use_baselines=estimator is ReinforceELBO)
    before = {name: value.clone() for name, value in air.named_parameters()}
    svi = pyro.infer.SVI(air.model, air.guide, pyro.optim.Adam({"lr": 0.1}), estimator())
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


@pytest.mark.parametrize("kinds", [kind for kind in KINDS if "recurrent" in kind.id])
def test_with_the_papers_attention_the_gradient_has_no_bias(kinds):
    torch.manual_seed(1)
    length, slope = along_the_gradient(tiny(**kinds).double(), batch_of(kinds).double())
    assert slope == pytest.approx(length, rel=1e-6)
