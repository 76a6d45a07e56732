"""MNIST's digits that come with the package."""

from __future__ import annotations

import importlib.resources

import numpy as np

from air.data.cutouts import Cutouts


def bundled_digits() -> tuple[Cutouts, Cutouts]:
    """Return the first 10 000 training and the first 2 000 test digits of MNIST.

    MNIST is by Yann LeCun, Corinna Cortes and Christopher Burges, under CC BY-SA 3.0.

    Returns:
        Training digits and test digits.
    """
    resource = importlib.resources.files(__package__) / "mnist_digits.npz"
    with resource.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return (
            Cutouts(arrays["train_images"], arrays["train_labels"].astype(np.int64)),
            Cutouts(arrays["test_images"], arrays["test_labels"].astype(np.int64)),
        )
