"""How a run goes: the group `optim`, and the key `train`."""

from __future__ import annotations

from typing import Literal

from air.fields import Count, PositiveInt, PositiveReal, strict


@strict
class OptimConfig:
    """Adam and how its learning rates move."""

    lr: PositiveReal
    baseline_lr: PositiveReal
    schedule: Literal["constant", "linear", "cosine"]
    warmup_iterations: Count
    clip_norm: PositiveReal | None  # of the gradient per image, over all parameters


@strict
class TrainConfig:
    """How long to train, and how often to evaluate and to save."""

    num_iterations: PositiveInt
    batch_size: PositiveInt
    log_every: PositiveInt
    eval_every: PositiveInt
    eval_size: PositiveInt  # held-out images of evaluations on the way; the last one takes all
    save_every: PositiveInt
    keep_at: list[Count]  # iterations whose checkpoints stay, beside the last two; 0: fresh weights
    num_pictures: Count  # scenes in each picture
    step: Literal["eager", "recorded", "compiled"]  # by Pyro's handlers, or played back
    threads: PositiveInt  # of PyTorch, in each operation; other numbers round differently
    warn_collapse: bool  # warn once if nearly all held-out images are given the same count
