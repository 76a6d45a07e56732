"""Adam with a rate for the model and one for the baseline, and the schedule of both."""

from __future__ import annotations

import math

from torch.optim import Adam
from torch.optim.lr_scheduler import LambdaLR

from air.config import OptimConfig
from air.model import AIR


def build_optimizer(config: OptimConfig, model: AIR) -> Adam:
    """Return Adam over the model's parameters and, in a group of its own, the baseline's."""
    baseline = list(model.bl.parameters()) if model.bl is not None else []
    in_baseline = {id(parameter) for parameter in baseline}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in in_baseline]
    groups = [{"params": rest, "lr": config.lr}]
    if baseline:
        groups.append({"params": baseline, "lr": config.baseline_lr})
    return Adam(groups, fused=True)


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


def build_scheduler(config: OptimConfig, optimizer: Adam, num_iterations: int) -> LambdaLR:
    """Return the schedule of every group's learning rate, stepped once an iteration."""
    return LambdaLR(optimizer, lambda step: learning_rate_factor(config, num_iterations, step))
