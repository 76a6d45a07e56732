"""The digits that come with the package."""

import numpy as np

from air.data.digits import bundled_digits


def test_bundled_digits():
    train, test = bundled_digits()
    for digits, number in ((train, 10_000), (test, 2_000)):
        assert len(digits) == number
        assert digits.images.shape == (number, 28, 28)
        assert digits.images.dtype == np.uint8
        assert digits.labels.shape == (number,)
        assert digits.labels.dtype == np.int64
        assert set(digits.labels.tolist()) == set(range(10))
        assert digits.images.any(axis=(1, 2)).all()
        assert digits.images.max() == 255


def test_training_and_test_digits_are_disjoint():
    train, test = ({image.tobytes() for image in part.images} for part in bundled_digits())
    assert not train & test
