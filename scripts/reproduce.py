"""Reproduce tables of results; see `python scripts/reproduce.py --help`."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

from air.cli.arguments import OneLineParser, refuse_unknown_options
from air.cli.command import one_line_errors
from air.errors import ConfigError
from air.reproduction.config import Request
from air.reproduction.tables import table_names

_FLAGS = ("smoke", "train")
_PASSED_ON = ("hydra/launcher", "hydra.launcher", "tracking", "device", "train.step")


def arguments(words: Sequence[str]) -> Request:
    """Read the command line.

    Raises:
        ConfigError: it is wrong.
    """
    parser = OneLineParser(
        description="Train what tables of RESULTS.md lack, and write them anew.",
        epilog=f"tables: {', '.join(table_names())}",
    )
    parser.add_argument(
        "what",
        nargs="*",
        help="names of tables (all); smoke=true: every run for seconds, into a folder of its own; "
        f"train=false: only write; {', '.join(_PASSED_ON)}: as for train.py -m",
    )
    refuse_unknown_options(words, parser.format_help())
    names, flags, launch = [], {"smoke": False, "train": True}, []
    for word in parser.parse_args(words).what:
        key, equals, value = word.partition("=")
        if not equals:
            names.append(word)
        elif key in _FLAGS:
            if value not in ("true", "false"):
                raise ConfigError(f"{key}: must be true or false, got {value}")
            flags[key] = value == "true"
        elif key.startswith(_PASSED_ON):
            launch.append(word)
        else:
            raise ConfigError(
                f"{key}: must be among {', '.join((*_FLAGS, *_PASSED_ON))}, as tables say all else"
            )
    return Request(names, flags["smoke"], flags["train"], launch)


def main() -> None:
    """Check the command line, then reproduce table by table."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    request = arguments(sys.argv[1:])

    # Imports matplotlib, and so comes only once the command line is known to be good.
    from air.reproduction.reproduce import reproduce

    reproduce(request)


if __name__ == "__main__":
    with one_line_errors():
        main()
