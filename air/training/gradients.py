"""The gradient of one batch: by Pyro's handlers each time, or as `air.acceleration` has it."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import Tensor

from air.config.schema import Config
from air.errors import ConfigError
from air.inference.objective import Objective
from air.model.air import AIR
from air.model.presence import PresencePrior

log = logging.getLogger(__name__)

# (batch, the further arguments of the objective) -> its metrics, summed over images; every
# parameter's `grad` is set on the way.
Gradients = Callable[..., dict[str, Tensor]]


def objective_settings(
    config: Config, prior: PresencePrior, air: AIR, iteration: int
) -> list[Tensor]:
    """Return the further arguments of the objective at an iteration, on the model's device.

    Args:
        config: of the run.
        prior: step -> trial probability of its object at this iteration.
        air: what is trained.
        iteration: of its training.
    """
    steps = range(air.num_steps)
    trial_probabilities = torch.tensor([prior(t) for t in steps], dtype=torch.float64)
    scheduled = [
        torch.tensor(value, dtype=air.dtype)
        for value in config.inference.scheduled(iteration).values()
    ]
    return [setting.to(air.device) for setting in (trial_probabilities, *scheduled)]


class EagerGradients:
    """Runs model and guide under Pyro's handlers and differentiates, for every batch anew.

    Args:
        objective: what is differentiated.
        air: whose parameters get gradients.
    """

    def __init__(self, objective: Objective, air: AIR) -> None:
        self.objective = objective
        self.air = air

    def __call__(self, batch: Tensor, *settings: Tensor) -> dict[str, Tensor]:
        """Set the gradients of a batch; return the metrics."""
        self.air.zero_grad(set_to_none=True)
        estimate = self.objective(self.air, batch, *settings)
        estimate.loss.backward()
        return estimate.metrics


def check_step(config: Config, device: torch.device) -> None:
    """Refuse to compile a step where that cannot be done.

    Raises:
        ConfigError: the device is a GPU, the machine lacks what it takes, or nothing is recorded
            that could be compiled.
    """
    if config.train.step != "compiled":
        return
    if device.type == "cuda":
        raise ConfigError(
            "train.step: must be recorded on a GPU, where a step is one CUDA graph, or eager, "
            "got compiled"
        )
    from air.acceleration.compiling import missing_for_compiling

    missing = missing_for_compiling()
    if missing is not None:
        raise ConfigError(
            f"train.step: must be recorded or eager on this machine, which lacks {missing}, "
            "got compiled"
        )
    if not config.inference.baseline.recordable:
        raise ConfigError(
            "train.step: must not be compiled with baseline=moving_average, as Pyro keeps the "
            "average where no recording can follow it, got compiled"
        )


def build_gradients(config: Config, objective: Objective, air: AIR, images: Tensor) -> Gradients:
    """Return how the gradient of a batch is computed.

    Args:
        config: a run that `check_step` has passed.
        objective: what is differentiated.
        air: on its device; on a GPU a recording becomes a CUDA graph.
        images: (N, x_size, x_size), some of those to come, of any type.
    """
    if config.train.step == "eager":
        return EagerGradients(objective, air)
    if not config.inference.baseline.recordable:
        log.info("a decaying-average baseline is not recorded: Pyro's handlers run at every step")
        return EagerGradients(objective, air)
    from air.acceleration.recording import CudaGraphGradients, RecordedGradients

    compiled = config.train.step == "compiled"
    recorded = RecordedGradients(objective, air, images, compiled)
    return CudaGraphGradients(recorded) if air.device.type == "cuda" else recorded
