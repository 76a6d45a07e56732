"""Adam with a rate for the model and one for the baseline, and the schedule of both."""

from __future__ import annotations

import math
from typing import Any

from torch.optim import Adam
from torch.optim.lr_scheduler import LambdaLR

from air.model.air import AIR
from air.training.config import OptimConfig


def build_optimizer(config: OptimConfig, air: AIR) -> Adam:
    """Return Adam over the model's parameters and, in a group of its own, the baseline's.

    Each group's `initial_lr` is what its schedule starts from.
    """
    baseline = list(air.guide.baseline.parameters())
    in_baseline = {id(parameter) for parameter in baseline}
    rest = [parameter for parameter in air.parameters() if id(parameter) not in in_baseline]
    groups = [{"params": rest, "lr": config.lr, "initial_lr": config.lr}]
    if baseline:
        rate = config.baseline_lr
        groups.append({"params": baseline, "lr": rate, "initial_lr": rate})
    return Adam(groups, fused=True)


def restore_optimizer(optimizer: Adam, state: dict[str, Any]) -> None:
    """Give Adam its moments back, but keep the rates that this run is configured with."""
    rates = [group["initial_lr"] for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["initial_lr"] = rate


def learning_rate_factor(config: OptimConfig, num_iterations: int, iteration: int) -> float:
    """Return what the learning rates are multiplied by at an iteration.

    Args:
        config: constant, linear or cosine; the warm-up comes first and rises in a straight line.
        num_iterations: length of training; linear and cosine reach 0 there.
        iteration: optimiser steps taken so far, 0…num_iterations.
    """
    warmup = config.warmup_iterations
    if iteration < warmup:
        return (iteration + 1) / (warmup + 1)
    fraction = min(1.0, (iteration - warmup) / max(1, num_iterations - warmup))
    match config.schedule:
        case "constant":
            return 1.0
        case "linear":
            return 1.0 - fraction
        case "cosine":
            return 0.5 * (1.0 + math.cos(math.pi * fraction))


def build_scheduler(
    config: OptimConfig, optimizer: Adam, num_iterations: int, iteration: int = 0
) -> LambdaLR:
    """Return the schedule of every group's learning rate, stepped once an iteration.

    It has no state but the iteration, so a resumed run builds it anew.

    Args:
        config: the schedule.
        optimizer: from `build_optimizer`.
        num_iterations: length of training.
        iteration: optimiser steps taken so far.
    """
    return LambdaLR(
        optimizer,
        lambda step: learning_rate_factor(config, num_iterations, step),
        last_epoch=iteration - 1,
    )
