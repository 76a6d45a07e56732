"""How long a step takes with more threads, alone and beside a process that keeps a core busy."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import takewhile

from air.acceleration.threads import computing_with
from air.benchmark.timing import Timing, interleaved
from air.benchmark.workloads import our_step
from air.config.schema import Config

# It ends by itself when the benchmark does, however that ends.
_BUSY = "import os; parent = os.getppid()\nwhile os.getppid() == parent: pass"


@dataclass(frozen=True)
class ContentionRow:
    """Steps with a number of threads.

    Attributes:
        threads: of PyTorch.
        alone: milliseconds a step, the median, while the benchmark starts nothing else.
        beside_one: the same beside a process that keeps one core busy.
        slowdown: how many times longer a step takes there.
        speedup: how many times longer a step takes with one thread, alone.
        speedup_beside_one: the same beside the busy process.
    """

    threads: int
    alone: float
    beside_one: float
    slowdown: float
    speedup: float
    speedup_beside_one: float


def measure_contention(
    config: Config, rounds: int, steps_in_a_turn: int = 10
) -> list[ContentionRow]:
    """Time the steps of a configuration with 1, 2, 4, … threads, up to the number of cores.

    Args:
        config: whose step it is; its own number of threads does not count.
        rounds: how often each is timed, all taking turns.
        steps_in_a_turn: so many that the neighbour has its core back before most of them.
    """
    step = our_step(config)
    numbers = thread_counts(num_cores())
    with busy_process() as neighbour:

        def turn(threads: int, beside_one: bool) -> None:
            neighbour.send_signal(signal.SIGCONT if beside_one else signal.SIGSTOP)
            with computing_with(threads):
                for _ in range(steps_in_a_turn):
                    step()

        turns = {
            _name(threads, beside_one): partial(turn, threads, beside_one)
            for threads in numbers
            for beside_one in (False, True)
        }
        times = interleaved(turns, rounds, warmup=1)
    return [_row(times, threads, steps_in_a_turn) for threads in numbers]


def num_cores() -> int:
    """Return how many cores this process may use, where the system tells, or the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def thread_counts(cores: int) -> list[int]:
    """Return 1, 2, 4, … below the number of cores, and that number."""
    powers = takewhile(lambda threads: threads < cores, (2**n for n in range(64)))
    return [*powers, cores]


@contextlib.contextmanager
def busy_process() -> Iterator[subprocess.Popen[bytes]]:
    """Run a process that keeps one core busy, until the block ends."""
    with subprocess.Popen([sys.executable, "-c", _BUSY]) as process:
        try:
            yield process
        finally:
            process.kill()  # also where it is stopped


def _name(threads: int, beside_one: bool) -> str:
    return f"{threads} {'beside one' if beside_one else 'alone'}"


def _row(times: dict[str, Timing], threads: int, steps: int) -> ContentionRow:
    alone, beside_one = (times[_name(threads, busy)] for busy in (False, True))
    return ContentionRow(
        threads=threads,
        alone=1e3 * alone.median / steps,
        beside_one=1e3 * beside_one.median / steps,
        slowdown=beside_one.ratio(alone),
        speedup=times[_name(1, False)].ratio(alone),
        speedup_beside_one=times[_name(1, True)].ratio(beside_one),
    )
