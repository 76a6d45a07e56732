"""The random generators of a run's processes: seeded apart, and kept in checkpoints."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

log = logging.getLogger(__name__)


def seed_noise(seed: int, iteration: int, rank: int) -> None:
    """Start this process's noise anew, unlike that of any other process or iteration.

    Args:
        seed: of the run.
        iteration: optimiser steps taken.
        rank: of this process.
    """
    words = np.random.SeedSequence([seed, iteration, rank]).generate_state(2)
    torch.manual_seed(int(words[0]) << 31 ^ int(words[1]))  # of every device


def random_states(device: torch.device) -> dict[str, Tensor]:
    """Return the states of this process's random generators, by kind of device."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def joined_states(states: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return all processes' states as one: "cpu" is the first process's, "cpu-1" the next's."""
    return {
        f"{name}-{rank}" if rank else name: state
        for rank, by_device in enumerate(states)
        for name, state in by_device.items()
    }


def restore_noise(
    states: dict[str, Tensor],
    device: torch.device,
    *,
    rank: int,
    size: int,
    seed: int,
    iteration: int,
) -> None:
    """Resume the noise of a checkpoint or, with another number of processes, start it anew.

    Args:
        states: as `joined_states` put them together.
        device: where the model is.
        rank: of this process.
        size: how many processes there are.
        seed: of the run.
        iteration: optimiser steps taken.
    """
    saved = sum(name.partition("-")[0] == "cpu" for name in states)
    if saved != size:
        log.warning(
            "the checkpoint was written by %d %s and is resumed by %d: each draws new noise",
            saved,
            "process" if saved == 1 else "processes",
            size,
        )
        seed_noise(seed, iteration, rank)
        return
    suffix = f"-{rank}" if rank else ""
    torch.set_rng_state(states[f"cpu{suffix}"])
    if device.type == "cuda" and f"cuda{suffix}" in states:
        torch.cuda.set_rng_state(states[f"cuda{suffix}"], device)
