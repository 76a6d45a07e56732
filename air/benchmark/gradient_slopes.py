"""The gradient of the ELBO beside finite differences: what the guide's choices leave out of it."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyro
import torch
from torch import Tensor
from tqdm import tqdm

from air.benchmark.config import GradientsConfig
from air.benchmark.gradient_noise import Parameters, counted
from air.inference.marginal import MarginalELBO

# How far parameters are moved: as far as changes the ELBO by so many nats an image. Less, and jumps
# where an attention chooses another place make more noise; more, and the slope is another one.
_CHANGE = 0.01


@dataclass(frozen=True)
class SlopeRow:
    """How steep the ELBO is along its own gradient, in one part's parameters.

    Attributes:
        at: which parameters.
        iteration: of their training.
        attention: the guide's.
        part: whose parameters are moved.
        gradient: the slope that `marginal` says, in nats an image.
        slope: that of finite differences, with the same noise.
        ratio: of the latter to the former; 1 where the gradient has no bias in that direction.
        error: the ratio's standard error.
    """

    at: str
    iteration: int
    attention: str
    part: str
    gradient: float
    slope: float
    ratio: float
    error: float


def measure_slopes(parameters: Parameters, config: GradientsConfig) -> Iterator[SlopeRow]:
    """Compare slopes part by part, in double precision.

    The direction is that of a mean gradient, and the draws by which slopes are compared are others.

    Args:
        parameters: of the model.
        config: how much is drawn.
    """
    air = copy.deepcopy(parameters.air).double()
    batch = parameters.batch(config.num_images).double()
    prior = parameters.prior()
    names, values = zip(*counted(air), strict=True)

    def loss(seed: int) -> Tensor:
        torch.manual_seed(seed)
        estimate = MarginalELBO().estimate(air.model, air.guide, batch, z_pres_prior_p=prior)
        return estimate.loss / len(batch)

    def gradient(seed: int) -> list[Tensor]:
        return list(torch.autograd.grad(loss(seed), values, materialize_grads=True))

    seeds = range(config.seed, config.seed + config.num_slopes)
    others = range(seeds.stop, seeds.stop + config.num_slopes)
    with pyro.get_param_store().scope():
        mean = [torch.stack(of).mean(0) for of in zip(*map(gradient, seeds), strict=True)]
        gradients = [gradient(seed) for seed in others]
        for part in tqdm(dict.fromkeys(map(_part, names)), desc="slopes", leave=False):
            chosen = [each for each, name in enumerate(names) if _part(name) == part]
            length = torch.cat([mean[each].flatten() for each in chosen]).norm()
            if length == 0:  # of parameters without a meaning for this attention
                continue
            direction = {each: mean[each] / length for each in chosen}
            said = torch.stack([_along(direction, of_draw) for of_draw in gradients])
            step, ends = _CHANGE / length.item(), []
            for by in (step, -step):
                with torch.no_grad(), _moved(values, direction, by):
                    ends.append(torch.stack([loss(seed) for seed in others]))
            found = (ends[0] - ends[1]) / (2 * step)
            ratio = found.mean() / said.mean()
            error = (found - ratio * said).std() / len(found) ** 0.5 / said.mean().abs()
            yield SlopeRow(
                at=parameters.where,
                iteration=parameters.iteration,
                attention=parameters.attention,
                part=part,
                gradient=said.mean().item(),
                slope=found.mean().item(),
                ratio=ratio.item(),
                error=error.item(),
            )


def _part(name: str) -> str:
    """Return the part that a parameter belongs to: "guide.encode.mlp.…" -> "guide.encode"."""
    return ".".join(name.split(".")[:2])


def _along(direction: Mapping[int, Tensor], gradient: Sequence[Tensor]) -> Tensor:
    return torch.stack([(gradient[each] * by).sum() for each, by in direction.items()]).sum()


@contextlib.contextmanager
def _moved(
    values: Sequence[Tensor], direction: Mapping[int, Tensor], step: float
) -> Iterator[None]:
    """Move parameters for a while; afterwards they are what they were, bit for bit."""
    before = {each: values[each].clone() for each in direction}
    for each, by in direction.items():
        values[each].add_(by, alpha=step)
    yield
    for each, value in before.items():
        values[each].copy_(value)
