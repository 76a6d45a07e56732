"""What each of several processes does in `test_distributed.py`; started with `spawn`.

Every case is run by one process with the whole batch, then by all with their shares, on the same
noise; what they took away goes to a file.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from unittest import mock

import pyro
import torch

from air.acceleration.recording import RecordedGradients
from air.inference.marginal import MarginalELBO
from air.inference.objective import Objective
from air.inference.reinforce import ReinforceELBO
from air.inference.sleep import SleepPhase
from air.model.baselines import joined_averages, moving_averages
from air.training.gradients import EagerGradients
from air.training.processes import ALONE, joined
from air.training.random_state import random_states, seed_noise
from tests.helpers.models import tiny

BATCH, SIZE = 8, 2
CPU = torch.device("cpu")
REINFORCE = {"use_baselines": True}
CASES = {
    "marginal": (MarginalELBO, {}, False, False),
    "marginal-sleep": (MarginalELBO, {}, True, False),
    "marginal-sleep-recorded": (MarginalELBO, {}, True, True),
    "neural": (ReinforceELBO, {**REINFORCE, "bl_predict_net": [3]}, False, False),
    "neural-recorded": (ReinforceELBO, {**REINFORCE, "bl_predict_net": [3]}, False, True),
    "neural-sleep": (ReinforceELBO, {**REINFORCE, "bl_predict_net": [3]}, True, False),
    "average": (ReinforceELBO, {**REINFORCE, "baseline_decay": 0.9}, False, False),
    "average-sleep": (ReinforceELBO, {**REINFORCE, "baseline_decay": 0.9}, True, False),
}


@contextmanager
def noise_of_the_whole_batch(rank, size):
    """Let a process draw what one alone would, and take the rows of its share."""

    def shared(draw, shape, *rest, **settings):
        whole = draw((shape[0] * size, *shape[1:]), *rest, **settings)
        return whole.chunk(size)[rank]

    rand, randn, randint = torch.rand, torch.randn, torch.randint

    def normal(tensor):
        return shared(randn, tensor.shape, dtype=tensor.dtype)

    def bernoulli(p):
        return (shared(rand, p.shape, dtype=p.dtype) < p).to(p)

    def integers(high, shape, device=None):
        return shared(lambda shape: randint(high, shape), shape)

    with (
        mock.patch.object(torch.Tensor, "normal_", normal),
        mock.patch("torch.bernoulli", bernoulli),
        mock.patch("torch.randint", integers),
    ):
        yield


def steps(name, processes):
    """Take three clipped steps of a case; return parts, gradients, weights and averages."""
    estimator, arguments, asleep, recorded = CASES[name]
    pyro.clear_param_store()
    pyro.set_rng_seed(3)
    model = tiny(**arguments)
    if processes.rank:
        with torch.no_grad():
            model.guide.z_what_init.fill_(7.0)  # to be replaced by the first process's
    processes.copy_first(model)
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    parameters = list(model.parameters())
    terms = [SleepPhase(0.5, 6 // processes.size, max_objects=2)] if asleep else []
    kind = RecordedGradients if recorded else EagerGradients
    gradients = kind(Objective(estimator(), terms), model)
    taken = []
    torch.manual_seed(5)
    images = torch.rand(3, BATCH, 6, 6)
    with noise_of_the_whole_batch(processes.rank, processes.size):
        for step, batch in enumerate(images):
            parts = gradients(processes.share(batch), torch.tensor([0.6, 0.3]).double())
            wish = step == 2 and processes.rank == processes.size - 1
            parts, stop = processes.sum_step(parameters, parts, wish)
            norm = torch.nn.utils.clip_grad_norm_(parameters, 5.0)
            optimizer.step()
            taken.append(
                {
                    "parts": {part: value.item() for part, value in parts.items()},
                    "norm": norm.item(),
                    "stop": stop,
                    "weights": {k: v.clone() for k, v in model.state_dict().items()},
                }
            )
    averages = moving_averages(pyro.get_param_store().items())
    gathered = processes.gather(averages)
    return taken, joined_averages(gathered) if gathered else None


def work(rank, port, folder):
    """Run every case as one of the processes, and leave a file."""
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "MASTER_ADDR": "127.0.0.1"}
    os.environ |= {"WORLD_SIZE": str(SIZE), "LOCAL_WORLD_SIZE": str(SIZE), "MASTER_PORT": port}
    with joined(CPU) as processes, pyro.validation_enabled(False):
        results = {"together": {name: steps(name, processes) for name in CASES}}
        seed_noise(0, 0, rank)
        results["states"] = processes.gather(random_states(CPU))
        results["highest"] = processes.highest(rank * 15)
        results["by_first"] = processes.by_first(lambda: rank)
    if rank == 0:
        results["alone"] = {name: steps(name, ALONE) for name in CASES}
    torch.save(results, folder / f"{rank}.pt")
