"""The paper's tasks on scenes of two digits, from what was inferred and from the pixels."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from air.data.loading import load_data
from air.data.scenes import Scenes
from air.errors import NotKnownError
from air.evaluation.plain_vae import train_vae
from air.evaluation.subject import Measurement, Subject
from air.model.images import planes, to_unit
from air.model.posterior import Posterior

_HIDDEN = 128  # units of the classifier's one hidden layer
_ITERATIONS = 300

_Array = NDArray[Any]


def downstream(subject: Subject) -> Iterator[tuple[str, Measurement]]:
    """Learn two tasks from few and from many labels (paper, section 3.2, figure 6).

    The tasks, on scenes of two labelled digits read from left to right: their sum, and whether the
    second is larger. The same small classifier learns from the latents of the first two steps, from
    the pixels, and from the code of a plain VAE, as long as the latents, that has seen the training
    images. It is tested on scenes that it was not trained on.

    Yields:
        TASK_from_CODE_with_N: accuracy with N labelled scenes, mean over repeats with others.

    Raises:
        NotKnownError: the data has no labels or boxes, or too few scenes of two digits.
    """
    settings = subject.config.downstream
    scenes, chosen = two_digit_scenes(subject.scenes)
    needed = settings.num_test + max(settings.num_labels)
    if len(scenes) < needed:
        raise NotKnownError(
            f"the data has {len(scenes)} scenes of two labelled digits, and {needed} are needed"
        )
    codes = {"latents": latent_code(subject.posterior, chosen), "pixels": _pixels(scenes)}
    unlabelled = load_data(subject.config.data or subject.run.config.data).train
    vae = train_vae(
        torch.from_numpy(_pixels(unlabelled.subset(slice(settings.num_unlabelled)))),
        codes["latents"].shape[1],
        subject.run.air.model.likelihood,
        subject.config.seed,
    )
    with torch.no_grad():
        codes["vae"] = vae.encode(torch.from_numpy(codes["pixels"])).mean.numpy()

    random = np.random.default_rng(subject.config.seed)
    orders = [random.permutation(len(scenes)) for _ in range(settings.num_repeats)]
    for task, answers in tasks(scenes).items():
        for name, code in codes.items():
            for num_labels in settings.num_labels:
                scores = [
                    _score(code, answers, order, num_labels, settings.num_test) for order in orders
                ]
                yield f"{task}_from_{name}_with_{num_labels}", float(np.mean(scores))


def two_digit_scenes(scenes: Scenes) -> tuple[Scenes, NDArray[np.int64]]:
    """Return the scenes of two labelled digits, and where they are among all scenes.

    Raises:
        NotKnownError: the data has no labels or boxes.
    """
    if scenes.labels is None or scenes.boxes is None:
        raise NotKnownError("the data has no labels, or no boxes to order them by")
    two = ((scenes.labels >= 0).sum(-1) == 2) & ((~scenes.boxes.isnan().any(-1)).sum(-1) == 2)
    chosen = two.nonzero().squeeze(-1)
    return scenes.subset(chosen), chosen.numpy()


def tasks(scenes: Scenes) -> dict[str, NDArray[np.int64]]:
    """Return the right answers for scenes of two digits, (N,) each."""
    assert scenes.labels is not None
    assert scenes.boxes is not None
    there = scenes.labels >= 0
    centres = (scenes.boxes[..., 0] + scenes.boxes[..., 2]).masked_fill(~there, torch.inf)
    order = centres.argsort(-1)[:, :2]  # left, right
    left, right = scenes.labels.gather(-1, order).unbind(-1)
    return {"sum": (left + right).numpy(), "ascending": (left < right).long().numpy()}


def latent_code(posterior: Posterior, chosen: NDArray[np.int64]) -> _Array:
    """Return z_where and z_what of the first two steps, the left window's first, (N, size)."""
    boxes = posterior.boxes[chosen][:, :2]
    order = (boxes[..., 0] + boxes[..., 2]).argsort(-1).unsqueeze(-1)  # (N, 2, 1)
    latents = torch.cat((posterior.z_where, posterior.z_what), -1)[chosen][:, :2]
    return latents.take_along_dim(order, 1).flatten(1).numpy()


def _pixels(scenes: Scenes) -> _Array:
    return planes(to_unit(scenes.images, "cpu")).flatten(1).numpy()


def _score(code: _Array, answers: _Array, order: _Array, num_labels: int, num_test: int) -> float:
    test, train = order[:num_test], order[num_test : num_test + num_labels]
    classifier = make_pipeline(
        StandardScaler(),
        MLPClassifier((_HIDDEN,), alpha=1e-2, max_iter=_ITERATIONS, random_state=0),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # all codes get as many iterations
        classifier.fit(code[train], answers[train])
    return float(classifier.score(code[test], answers[test]))
