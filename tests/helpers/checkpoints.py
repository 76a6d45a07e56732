"""Checkpoints without a run, and what a run's best one says of itself."""

import torch

from air.runs.best import Best
from air.runs.checkpoint import Checkpoint, best_checkpoint, read_checkpoint
from tests.helpers.models import tiny_values


def checkpoint_of(model, iteration=5, best=None, **arguments):
    """Return a checkpoint of a model that `tiny` built from these arguments."""
    return Checkpoint(
        config=tiny_values(**arguments),
        x_size=model.x_size,
        num_channels=model.num_channels,
        iteration=iteration,
        model=model.state_dict(),
        optimizer={},
        random_states={"cpu": torch.get_rng_state()},
        moving_averages={},
        best=best,
        sums={},
        num_summed=0,
        collapse={"streak": None, "warned": False},
    )


def best_of(run_dir):
    """The best look of a run, as its best checkpoint records it."""
    return Best(**read_checkpoint(best_checkpoint(run_dir)).best)
