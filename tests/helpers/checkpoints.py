"""Checkpoints of models that were not trained."""

import torch

from air.runs.checkpoint import Checkpoint


def checkpoint_of(model, iteration=5):
    """Return a checkpoint that holds a model's weights, as if after so many iterations."""
    return Checkpoint(
        config={"seed": 0},
        x_size=model.x_size,
        iteration=iteration,
        model=model.state_dict(),
        optimizer={},
        random_states={"cpu": torch.get_rng_state()},
        moving_averages={},
    )
