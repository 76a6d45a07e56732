"""The pairs of counts whose difference is the derivative; its mean is in `test_estimators.py`."""

import itertools

import torch

from air.inference.mvd import counts_with_each


def test_with_each_object_the_count_is_that_of_the_steps_after_it():
    draws = torch.tensor(list(itertools.product((False, True), repeat=3)))
    for b, found in zip(draws.tolist(), counts_with_each(draws).tolist(), strict=True):
        for t, count in enumerate(found):
            forced = [True] * (t + 1) + b[t + 1 :]
            assert count == (forced.index(False) if False in forced else 3)
