"""Evaluation on held-out scenes, against counting by hand."""

import pytest
import torch

from air.data.scenes import Scenes
from air.evaluation.held_out import confusion_matrix, evaluate
from air.inference.marginal import MarginalELBO
from tests.helpers.models import tiny


def scenes(n=600, count=True):
    torch.manual_seed(1)
    images = torch.randint(0, 256, (n, 6, 6), dtype=torch.uint8)
    return Scenes(images, torch.arange(n) % 3 if count else None, None, None)


def prior(t):
    return 0.4


def test_confusion_matrix():
    true, inferred = torch.tensor([0, 0, 1, 4]), torch.tensor([0, 2, 1, 3])
    expected = [[1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]]
    assert confusion_matrix(true, inferred, 3).counts.tolist() == expected


def test_accuracy_and_parts():
    air, data = tiny(), scenes()
    state = torch.get_rng_state()
    result = evaluate(air, data, prior)
    assert torch.equal(torch.get_rng_state(), state)
    assert result.count_accuracy == (air.infer(data.images).count == data.count).double().mean()
    assert result.metric == result.count_accuracy
    parts = result.elbo_parts
    assert parts["elbo"] == pytest.approx(
        parts["likelihood"] - parts["kl_pres"] - parts["kl_where"] - parts["kl_what"]
    )
    direct = MarginalELBO().loss(
        air.model, air.guide, data.images.float() / 255, z_pres_prior_p=prior
    )
    assert parts["elbo"] == pytest.approx(-direct / 600, abs=0.5)
    assert evaluate(air, data, prior).elbo_parts == parts


def test_without_counts_the_elbo_is_the_metric():
    result = evaluate(tiny(use_masking=False), scenes(count=False), prior)
    assert result.count_accuracy is None
    assert result.confusion is None
    assert result.metric == result.elbo_parts["elbo"]
