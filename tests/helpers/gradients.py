"""What the several ways to compute gradients return for the same batches and the same noise."""

import torch

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
