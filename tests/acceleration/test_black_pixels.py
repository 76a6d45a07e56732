"""Products that skip black pixels against dense ones, and when a recorded step takes them."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch.fx.experimental.proxy_tensor import make_fx

from air.acceleration.black_pixels import is_mostly_black, skip_black_pixels
from air.acceleration.recording import RecordedGradients
from air.inference.marginal import MarginalELBO
from air.inference.objective import Objective
from air.inference.reinforce import ReinforceELBO
from air.training.gradients import EagerGradients
from tests.helpers.models import tiny

FIND, SUMS = torch.ops.air.find_nonzero.default, torch.ops.air.weighted_sums.default
PROBABILITIES = torch.tensor([0.6, 0.3], dtype=torch.float64)
DARK = torch.zeros(5, 6, 6)
DARK[:, 2:4, 3] = torch.tensor([0.4, 0.9])


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 7), st.floats(0, 1))
def test_a_product_and_its_gradient_equal_the_dense_ones(seed, num_rows, width, share):
    random = torch.Generator().manual_seed(seed)
    images = torch.randn(num_rows, 1, width, dtype=torch.float64, generator=random)
    images = images * (torch.rand(images.shape, generator=random) < share)
    weights = torch.randn(width, 3, dtype=torch.float64, generator=random).requires_grad_()
    signal = torch.randn(num_rows, 3, dtype=torch.float64, generator=random)

    def program(weights, images):
        product = images.unsqueeze(1).flatten(1) @ weights
        return product, torch.autograd.grad(product, weights, signal)[0]

    recording = make_fx(program)(weights, images)
    skip_black_pixels(recording, batch_position=1)
    recording.recompile()
    assert len(recording.graph.find_nodes(op="call_function", target=SUMS)) == 2
    for ours, dense in zip(recording(weights, images), program(weights, images), strict=True):
        torch.testing.assert_close(ours, dense)


def test_the_operations_are_what_pytorch_takes_them_for():
    rows = torch.tensor([[0.0, 2.0, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 3.0]])
    columns, values, starts = FIND(rows)
    assert columns[: starts[-1]].tolist() == [1, 0, 2]
    assert values[: starts[-1]].tolist() == [2, 1, 3]
    assert starts.tolist() == [0, 1, 1, 3]
    torch.library.opcheck(SUMS, (columns, values, starts, torch.randn(3, 4)))
    # What lies behind the entries that are filled is any number, so runs cannot be compared.
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(FIND, (rows,), test_utils=checks)


def test_what_counts_as_mostly_black():
    assert is_mostly_black(torch.zeros(3, 4, 4, dtype=torch.uint8))
    assert not is_mostly_black(torch.ones(3, 4, 4))
    assert not is_mostly_black(torch.zeros(0, 4, 4))


def gradients_of(gradients, air, batches):
    torch.manual_seed(0)
    found = []
    for batch in batches:
        gradients(batch, PROBABILITIES)
        found += [None if p.grad is None else p.grad.clone() for p in air.parameters()]
    return found


@pytest.mark.parametrize(
    ("estimator", "arguments", "products"),
    [
        (MarginalELBO, {}, 2),
        (ReinforceELBO, {"use_baselines": True}, 4),  # the baseline sees pixels too
        (MarginalELBO, {"embed_net": [4]}, 0),
    ],
)
def test_a_step_that_skips_black_pixels_is_the_same_step(estimator, arguments, products):
    air, objective = tiny(**arguments), Objective(estimator())
    batches = [DARK, torch.zeros(5, 6, 6), torch.ones(5, 6, 6), DARK.flip(-1)]
    skipping = RecordedGradients(objective, air, images=DARK)
    ours = gradients_of(skipping, air, batches)
    eager = gradients_of(EagerGradients(objective, air), air, batches)
    torch.testing.assert_close(ours, eager)
    nodes = skipping.record(DARK, PROBABILITIES).graph.find_nodes(op="call_function", target=SUMS)
    assert len(nodes) == products


def test_bright_images_take_dense_products():
    recorded = RecordedGradients(Objective(MarginalELBO()), tiny(), images=torch.ones(5, 6, 6))
    graph = recorded.record(DARK, PROBABILITIES).graph
    assert not graph.find_nodes(op="call_function", target=SUMS)
