"""How long a step takes, beside what it computes and beside Pyro's own example."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from air.benchmark.cost import measure_cost
from air.benchmark.machine import Machine
from air.benchmark.timing import interleaved
from air.benchmark.workloads import Step, our_step, reference_step
from air.cli.compose import compose_config
from air.errors import ConfigError

log = logging.getLogger(__name__)

# The networks of Pyro's tutorial, which Pyro's own example is built with too.
_REFERENCE = ("experiment=pyro_tutorial", "train.batch_size=64")
_MARGINAL = (*_REFERENCE, "inference=marginal", "baseline=none")
_COMPILED, _COMPILED_SUFFIX = "train.step=compiled", ", compiled"

REFERENCE_NAME = "Pyro's examples/air"


@dataclass(frozen=True)
class StepKind:
    """A configuration whose step is timed, and on what scenes.

    Attributes:
        overrides: of the quickstart's configuration.
        black: whether scenes have black pixels, which some products skip.
    """

    overrides: tuple[str, ...]
    black: bool = True


STEPS: dict[str, StepKind] = {
    "pixels, reinforce": StepKind(_REFERENCE),
    "pixels, reinforce, compiled": StepKind((*_REFERENCE, _COMPILED)),
    "pixels, reinforce, no black pixels": StepKind(_REFERENCE, black=False),
    "pixels, marginal": StepKind(_MARGINAL),
    "pixels, marginal, compiled": StepKind((*_MARGINAL, _COMPILED)),
    "quickstart": StepKind(()),
    "quickstart, compiled": StepKind((_COMPILED,)),
    "quickstart, not recorded": StepKind(("train.step=eager",)),
}


@dataclass(frozen=True)
class StepRow:
    """One kind of step.

    Attributes:
        step: its name.
        milliseconds: the median.
        quartile_low, quartile_high: of the times, in milliseconds.
        reference_ratio: how many times longer the reference takes; None without one.
        gigaflops: floating-point operations of products and convolutions, in 10⁹.
        megabytes: read and written by all operations, in 10⁶; None for a compiled step.
        peak_megabytes: the most that the step's own tensors held at one time; likewise.
        floor: milliseconds for the operations at the machine's ceiling for products.
        ceiling_fraction: floor over median.
    """

    step: str
    milliseconds: float
    quartile_low: float
    quartile_high: float
    reference_ratio: float | None
    gigaflops: float
    megabytes: float | None
    peak_megabytes: float | None
    floor: float
    ceiling_fraction: float


def measure_steps(
    machine: Machine, rounds: int, checkout: Path | None, overrides: Sequence[str] = ()
) -> list[StepRow]:
    """Time every step of `STEPS`, taking turns, and the reference's among them.

    Args:
        machine: with its ceilings.
        rounds: how often each is timed.
        checkout: of Pyro's repository, or None to leave the reference out.
        overrides: of the quickstart's configuration.
    """
    steps: dict[str, Step] = {}
    if checkout is not None:
        steps[REFERENCE_NAME] = reference_step(checkout, compose_config(_REFERENCE))
    compose_config(overrides)  # what is wrong with these is not for a comparison to leave out
    for name, kind in STEPS.items():
        changed = overrides if name.startswith("quickstart") else ()
        try:
            steps[name] = our_step(compose_config((*changed, *kind.overrides)), kind.black)
        except ConfigError as error:
            log.warning("%s: left out, %s", name, error)
    times = interleaved(steps, rounds)
    reference = times.get(REFERENCE_NAME)
    rows = []
    # The operations of a compiled step cannot be counted; its products are those of the plain one.
    costs = {
        name: measure_cost(step)
        for name, step in steps.items()
        if not name.endswith(_COMPILED_SUFFIX)
    }
    for name, timing in times.items():
        plain = name.removesuffix(_COMPILED_SUFFIX)
        cost = costs[plain]
        floor = cost.flops / machine.flops
        low, high = timing.quartiles
        rows.append(
            StepRow(
                step=name,
                milliseconds=1e3 * timing.median,
                quartile_low=1e3 * low,
                quartile_high=1e3 * high,
                reference_ratio=reference.ratio(timing) if reference else None,
                gigaflops=cost.flops / 1e9,
                megabytes=cost.bytes / 1e6 if name == plain else None,
                peak_megabytes=cost.peak_bytes / 1e6 if name == plain else None,
                floor=1e3 * floor,
                ceiling_fraction=floor / timing.median,
            )
        )
    return rows
