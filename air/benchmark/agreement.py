"""How far a device's results are from the CPU's, with the same weights, images and noise."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyro
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from air.benchmark.workloads import example_trainer
from air.cli.compose import compose_config
from air.inference.objective import Objective
from air.model.air import AIR
from air.model.images import to_unit
from air.training.run import choose_device

_NUM_IMAGES = 64
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class AgreementRow:
    """One gradient and one inference at fresh weights, on the device and on the CPU, in float32.

    Attributes:
        step: its preset.
        loss: relative difference.
        gradient: of all parameters, the norm of the difference over the norm.
        count_probs: the largest difference of a count's probability.
        counts: the share of images whose most probable count is the same.
    """

    step: str
    loss: float
    gradient: float
    count_probs: float
    counts: float


def measure_agreement(
    presets: Mapping[str, Sequence[str]], overrides: Sequence[str] = ()
) -> Iterator[AgreementRow]:
    """Compare every preset's gradient and inference.

    Args:
        presets: overrides by name.
        overrides: of every preset.
    """
    for name, changed in presets.items():
        config = compose_config((*changed, *overrides, "device=cpu", "tracking=none"))
        device = choose_device(compose_config((*changed, *overrides)))
        trainer = example_trainer(config)
        air, objective = trainer.air, trainer.objective
        images = to_unit(trainer.data.test.images[:_NUM_IMAGES], _CPU)
        ours, theirs = (
            _results(objective, copy.deepcopy(air).to(place), images, trainer.objective_settings())
            for place in (device, _CPU)
        )
        yield AgreementRow(
            step=name,
            loss=_relative(ours.loss, theirs.loss),
            gradient=_relative(ours.gradient, theirs.gradient),
            count_probs=(ours.count_probs - theirs.count_probs).abs().max().item(),
            counts=(ours.count == theirs.count).double().mean().item(),
        )


@dataclass(frozen=True)
class _Results:
    loss: Tensor
    gradient: Tensor  # of all parameters, one after the other
    count_probs: Tensor  # (N, num_steps + 1)
    count: Tensor  # (N,)


def _results(
    objective: Objective, air: AIR, images: Tensor, settings: Sequence[Tensor]
) -> _Results:
    images = images.to(air.device)
    store = pyro.get_param_store()
    exact = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
    with store.scope(), pyro.validation_enabled(False), exact:
        pyro.set_rng_seed(0)
        with _NoiseOfTheCpu():
            estimate = objective(air, images, *(setting.to(air.device) for setting in settings))
        parameters = list(air.parameters())
        found = torch.autograd.grad(
            estimate.loss, parameters, allow_unused=True, materialize_grads=True
        )
        posterior = air.infer(images)
    return _Results(
        estimate.loss.detach().cpu(),
        torch.cat([each.flatten() for each in found]).cpu(),
        posterior.count_probs.cpu(),
        posterior.count.cpu(),
    )


class _NoiseOfTheCpu(TorchDispatchMode):
    """Draws every random number on the CPU, so that all devices get the same ones."""

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = dict(kwargs or {})
        if torch.Tag.nondeterministic_seeded not in func.tags:
            return func(*args, **given)
        tensors = [each for each in args if isinstance(each, Tensor)]
        device = tensors[0].device if tensors else torch.device(given.get("device") or _CPU)
        if "device" in given:
            given["device"] = _CPU
        drawn = func(*_moved(args, _CPU), **_moved(given, _CPU))
        if func._schema.is_mutable:  # such as normal_
            return tensors[0].copy_(drawn)
        return _moved(drawn, device)


def _moved(value: Any, device: torch.device) -> Any:
    return tree_map_only(Tensor, lambda tensor: tensor.to(device), value)


def _relative(ours: Tensor, theirs: Tensor) -> float:
    return ((ours - theirs).norm() / theirs.norm()).item()
