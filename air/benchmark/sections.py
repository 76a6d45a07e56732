"""Runs the sections of the benchmark one after the other, and prints each as soon as it is done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from air.acceleration.allocator import keep_freed_memory
from air.acceleration.threads import computing_with
from air.benchmark.accuracy import AccuracyRow, measure_accuracy
from air.benchmark.agreement import measure_agreement
from air.benchmark.commands import measure_inference, measure_start
from air.benchmark.contention import measure_contention
from air.benchmark.growth import measure_growth
from air.benchmark.limits import measure_limits
from air.benchmark.machine import Machine, measure_machine
from air.benchmark.modes import PRESETS, measure_modes
from air.benchmark.step_times import measure_steps
from air.benchmark.tables import markdown_table, write_json
from air.benchmark.workloads import check_checkout
from air.cli.compose import compose_config
from air.config.schema import Config
from air.data.loading import load_data
from air.errors import ConfigError
from air.training.gradients import check_step
from air.training.run import choose_device

_COMMAND_ROUNDS = 5  # a start takes seconds


@dataclass(frozen=True)
class Request:
    """What is to be measured.

    Attributes:
        sections: names.
        overrides: of the configuration.
        checkout: of Pyro's repository, or None.
        rounds: how often a step is timed.
        seeds: of the accuracy.
        target: held-out count accuracy, in [0, 1].
        evaluate_every: iterations between evaluations.
        json: where everything is written, or None.
    """

    sections: Sequence[str]
    overrides: Sequence[str]
    checkout: Path | None
    rounds: int
    seeds: Sequence[int]
    target: float
    evaluate_every: int
    json: Path | None


def measure(request: Request) -> dict[str, list[Any]]:
    """Measure, print and write.

    Returns:
        The rows by section.

    Raises:
        AIRError: the configuration or the checkout cannot be used; nothing was measured then.
    """
    config = compose_config((*request.overrides, "tracking=none"))
    plain = {"steps", "growth", "contention"} & set(request.sections)
    if config.train.step == "compiled" and plain:
        raise ConfigError(
            "train.step: must not be compiled for steps, which compiles some of them itself, for "
            "growth, which counts their operations, and for contention, as compiled steps keep "
            "their number of threads, got compiled"
        )
    check_step(config, choose_device(config))
    if request.checkout is not None:
        check_checkout(request.checkout)
    keep_freed_memory()  # as a run does
    with computing_with(config.train.threads):
        return _measure(request, config)


def _measure(request: Request, config: Config) -> dict[str, list[Any]]:
    machine = measure_machine(choose_device(config))
    results: dict[str, list[Any]] = {"machine": [machine]}
    _show("machine", [machine])
    for section in request.sections:
        rows = _SECTIONS[section](request, config, machine)
        results[section] = rows
        _show(section, rows)
        if request.json is not None:  # after every section: the next may take an hour
            write_json(request.json, results)
    return results


def _steps(request: Request, config: Config, machine: Machine) -> list[Any]:
    return measure_steps(machine, request.rounds, request.checkout, request.overrides)


def _growth(request: Request, config: Config, machine: Machine) -> list[Any]:
    return measure_growth(request.rounds, request.overrides)


def _modes(request: Request, config: Config, machine: Machine) -> list[Any]:
    return list(measure_modes(request.rounds, request.checkout, request.overrides))


def _agreement(request: Request, config: Config, machine: Machine) -> list[Any]:
    return list(measure_agreement(PRESETS, request.overrides))


def _limits(request: Request, config: Config, machine: Machine) -> list[Any]:
    return list(measure_limits(request.overrides))


def _start(request: Request, config: Config, machine: Machine) -> list[Any]:
    load_data(config.data)  # so that it is cached
    return measure_start(_COMMAND_ROUNDS, request.overrides)


def _inference(request: Request, config: Config, machine: Machine) -> list[Any]:
    return measure_inference(config, _COMMAND_ROUNDS)


def _contention(request: Request, config: Config, machine: Machine) -> list[Any]:
    return measure_contention(config, request.rounds)


def _accuracy(request: Request, config: Config, machine: Machine) -> list[Any]:
    rows: list[AccuracyRow] = []
    configs = [compose_config((*request.overrides, f"seed={seed}")) for seed in request.seeds]
    for row in measure_accuracy(
        configs, load_data(config.data), request.target, request.evaluate_every
    ):
        rows.append(row)
        print(f"seed {row.seed}: {100 * row.accuracy:.2f} % after {row.seconds:.1f} s", flush=True)
    reached = [row.seconds_to_target for row in rows if row.seconds_to_target is not None]
    print(
        f"{100 * request.target:g} % reached by {len(reached)} of {len(rows)} seeds, "
        f"median over those {median(reached) if reached else float('nan'):.1f} s, "
        f"median accuracy at the end {100 * median(row.accuracy for row in rows):.2f} %"
    )
    return rows


def _show(section: str, rows: list[Any]) -> None:
    print(f"\n## {section}\n\n{markdown_table(rows)}", flush=True)


_SECTIONS: dict[str, Callable[[Request, Config, Machine], list[Any]]] = {
    "steps": _steps,
    "growth": _growth,
    "modes": _modes,
    "agreement": _agreement,
    "limits": _limits,
    "start": _start,
    "inference": _inference,
    "contention": _contention,
    "accuracy": _accuracy,
}
