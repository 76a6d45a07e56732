"""Measure AIR on this machine; see `python scripts/benchmark.py --help`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from air.acceleration.threads import wait_passively
from air.cli.arguments import OneLineParser, refuse_unknown_options
from air.cli.command import one_line_errors
from air.errors import ConfigError

SECTIONS = ("steps", "growth", "start", "inference", "contention", "accuracy")
# What a device is asked for before it is trained on; each works on a CPU too.
GPU = ("modes", "agreement", "limits", "inference", "accuracy")


_WHAT = (
    f"{', '.join(SECTIONS)} (all of these); {', '.join(GPU[:3])}; gpu, which is {', '.join(GPU)}; "
    "or KEY=VALUE as for train.py"
)


def _positive(text: str) -> int:
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, got {value}")
    return value


def _seeds(text: str) -> list[int]:
    return [int(seed) for seed in text.split(",")]


def arguments(words: Sequence[str]) -> argparse.Namespace:
    """Read the command line.

    Raises:
        ConfigError: it is wrong.
    """
    parser = OneLineParser(description="Measure AIR on this machine and print tables.")
    add = parser.add_argument
    add("what", nargs="*", help=_WHAT)
    add(
        "--compare",
        type=Path,
        dest="checkout",
        metavar="DIR",
        help="a checkout of Pyro's repository to time too",
    )
    add("--rounds", type=_positive, default=30, help="how often a step is timed (30)")
    add("--seeds", type=_seeds, default=list(range(10)), help="of accuracy (0,1,…,9)")
    add("--target", type=float, default=0.987, help="held-out count accuracy (0.987)")
    add("--evaluate-every", type=_positive, default=100, help="iterations apart (100)")
    add("--json", type=Path, metavar="FILE", help="where everything is written (nowhere)")
    refuse_unknown_options(words, parser.format_help())
    given = parser.parse_intermixed_args(words)
    given.overrides = [word for word in given.what if "=" in word]
    sections = [word for word in given.what if "=" not in word] or list(SECTIONS)
    known = list(dict.fromkeys((*SECTIONS, *GPU, "gpu")))
    for word in sections:
        if word not in known:
            raise ConfigError(f"what: must be among {', '.join(known)}, got {word}")
    given.sections = [name for word in sections for name in (GPU if word == "gpu" else (word,))]
    del given.what
    return given


def main() -> None:
    """Check the command line, then measure section by section."""
    given = arguments(sys.argv[1:])
    wait_passively()

    # Imports torch, and so comes only once the command line is known to be good.
    from air.benchmark.sections import Request, measure

    measure(Request(**vars(given)))


if __name__ == "__main__":
    with one_line_errors():
        main()
