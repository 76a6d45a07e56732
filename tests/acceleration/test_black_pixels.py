"""Products that skip zeros against dense ones, and when AIR takes them."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from air.acceleration.black_pixels import (
    _find_nonzero,
    _weighted_sums,
    is_mostly_zero,
    sparse_product,
)
from air.acceleration.recording import HandlerGradients
from air.benchmark.workloads import build_trainer, example_data
from air.cli.compose import compose_config
from air.inference.marginal import MarginalELBO
from air.inference.objective import Objective
from air.inference.reinforce import ReinforceELBO
from tests.helpers.models import tiny


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 7), st.floats(0, 1))
def test_equals_the_dense_product_in_value_and_gradients(seed, num_rows, num_columns, share):
    random = torch.Generator().manual_seed(seed)
    rows = torch.randn(num_rows, num_columns, dtype=torch.float64, generator=random)
    rows = rows * (torch.rand(rows.shape, generator=random) < share)
    weights = torch.randn(num_columns, 3, dtype=torch.float64, generator=random)
    inputs = rows.requires_grad_(), weights.requires_grad_()
    signal = torch.randn(num_rows, 3, dtype=torch.float64, generator=random)
    ours, dense = sparse_product(*inputs), torch.mm(*inputs)
    torch.testing.assert_close(ours, dense)
    for one, other in zip(
        torch.autograd.grad(ours, inputs, signal),
        torch.autograd.grad(dense, inputs, signal),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_the_operations_are_what_pytorch_takes_them_for():
    rows = torch.tensor([[0.0, 2.0, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 3.0]])
    columns, values, starts = _find_nonzero(rows)
    assert columns[: starts[-1]].tolist() == [1, 0, 2]
    assert values[: starts[-1]].tolist() == [2, 1, 3]
    assert starts.tolist() == [0, 1, 1, 3]
    torch.library.opcheck(_weighted_sums, (columns, values, starts, torch.randn(3, 4)))
    # What lies behind the entries that are filled is any number, so runs cannot be compared.
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(_find_nonzero, (rows,), test_utils=checks)


def test_what_counts_as_mostly_zero():
    assert is_mostly_zero(torch.zeros(3, 4, 4, dtype=torch.uint8))
    assert not is_mostly_zero(torch.ones(3, 4, 4))
    assert not is_mostly_zero(torch.zeros(0, 4, 4))


DARK = torch.zeros(5, 6, 6)
DARK[:, 2:4, 3] = torch.tensor([0.4, 0.9])


@pytest.mark.parametrize(
    ("estimator", "arguments"), [(MarginalELBO, {}), (ReinforceELBO, {"use_baselines": True})]
)
def test_a_model_that_skips_black_pixels_is_the_same_model(estimator, arguments):
    model = tiny(**arguments)
    found = []
    for images in (torch.ones(5, 6, 6), DARK):
        model.skip_black_pixels(images)
        torch.manual_seed(0)
        HandlerGradients(Objective(estimator()), model)(DARK, torch.tensor([0.6, 0.3]))
        found.append([parameter.grad for parameter in model.parameters()])
    assert model.rnn.skips_zeros
    assert model.bl is None or model.bl.rnn.skips_zeros
    torch.testing.assert_close(*found)


def test_training_turns_it_on(data_root):
    overrides = ("experiment=smoke", f"data.root={data_root}")
    for model, skips in (("pixels", True), ("conv", False)):
        config = compose_config((*overrides, f"model={model}"))
        trainer = build_trainer(config, example_data(config.data, 10))
        assert trainer.model.rnn.skips_zeros is skips


def test_only_raw_pixels_are_skipped():
    model = tiny(embed_net=[4])
    model.skip_black_pixels(DARK)
    assert not model.rnn.skips_zeros
