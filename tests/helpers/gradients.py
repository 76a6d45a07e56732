"""What the several ways to compute gradients return for the same batches and the same noise."""

import torch

from air.inference.marginal import MarginalELBO

PROBABILITIES = torch.tensor([0.6, 0.3], dtype=torch.float64)


def taken(gradients, model, batches, seed=0, probabilities=PROBABILITIES):
    """Return parts and gradients of some batches in turn, and the next random number."""
    torch.manual_seed(seed)
    results = []
    for batch in batches:
        parts = gradients(batch, probabilities)
        results.append(
            (
                {name: value.item() for name, value in parts.items()},
                [None if p.grad is None else p.grad.clone() for p in model.parameters()],
            )
        )
    return results, torch.rand(1).item()


def along_the_gradient(air, images, estimator=None):
    """Return the length of a loss's gradient, and the slope of the loss along it, noise the same.

    They are equal where the gradient has no bias.
    """
    parameters = list(air.parameters())
    estimator = estimator or MarginalELBO()

    def loss():
        torch.manual_seed(7)
        return estimator.estimate(air.model, air.guide, images).loss

    gradient = torch.autograd.grad(loss(), parameters, materialize_grads=True)
    length = torch.cat([each.flatten() for each in gradient]).norm()
    slope, step = 0.0, 1e-6
    for sign in (1, -1):
        with torch.no_grad():
            moved = [sign * step * each / length for each in gradient]
            for parameter, by in zip(parameters, moved, strict=True):
                parameter += by
            slope += sign * loss().item() / (2 * step)
            for parameter, by in zip(parameters, moved, strict=True):
                parameter -= by
    return length.item(), slope
