"""Measurements as tables for readers and as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tabulate import tabulate

from air.runs.files import make_folder, write_whole

_HIDDEN = ("evaluations",)  # too long for a table


def markdown_table(rows: Sequence[Any]) -> str:
    """Return rows, which are dataclasses of one kind, as a Markdown table."""
    shown = [
        {name: value for name, value in asdict(row).items() if name not in _HIDDEN} for row in rows
    ]
    empty = {name for name in shown[0] if all(row[name] is None for row in shown)}
    kept = [{name: row[name] for name in row if name not in empty} for row in shown]
    return tabulate(kept, headers="keys", tablefmt="github", floatfmt=".4g", missingval="-")


def write_json(path: Path, results: dict[str, list[Any]]) -> None:
    """Write measurements: lists of dataclasses, by section.

    Raises:
        WriteError: the file cannot be written.
    """
    plain = {section: [asdict(row) for row in rows] for section, rows in results.items()}
    make_folder(path.parent)
    write_whole(path, (json.dumps(plain, indent=2) + "\n").encode())
