"""Means over draws, and whether two of them can be the same number.

Means are compared within `SIGMAS` of their joint standard error, estimated over chunks; with the
fixed seed a failure is a failure of the code, not of luck.
"""

import math

import pyro
import torch

SIGMAS = 6


def gradients(model):
    """All of the model's own gradients as one vector; the baseline's are left out."""
    return torch.cat(
        [
            (torch.zeros_like(p) if p.grad is None else p.grad).flatten()
            for name, p in model.named_parameters()
            if not name.startswith("guide.baseline.")
        ]
    )


def monte_carlo(estimator, model, images, chunks, copies, **arguments):
    """Mean and standard error of the loss per set of images, and of its gradient."""
    pyro.clear_param_store()  # of the model before
    data = images.repeat(copies, 1, 1)
    losses, slopes = [], []
    for _ in range(chunks):
        model.zero_grad()
        loss = estimator.loss_and_grads(model.model, model.guide, data, **arguments)
        losses.append(loss / copies)
        slopes.append(gradients(model) / copies)
    means = []
    for values in (torch.tensor(losses).unsqueeze(-1), torch.stack(slopes)):
        means.append((values.mean(0), values.std(0) / math.sqrt(chunks)))
    return means


def assert_same_mean(one, other):
    (a, a_error), (b, b_error) = one, other
    error = (a_error**2 + b_error**2).sqrt()
    off = ((a - b).abs() / error).nan_to_num()  # 0 / 0 of what never changes
    assert ((a - b).abs() <= SIGMAS * error + 1e-6).all(), off.max()
