"""What was found in image files, as tables.

counts.csv      file, count, probability of that count
objects.csv     file, object, its box in pixels of the file, probability that it is there
objects.json    "settings", and "files": the same with all counts' probabilities and the latents
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from air.annotation.found import Found
from air.data.folder import COUNTS_FILE
from air.runs.files import replacing

OBJECTS_TABLE = "objects.csv"
OBJECTS_FILE = "objects.json"


class Tables:
    """Writes what is found, file by file.

    Args:
        counts: becomes `counts.csv`.
        objects: becomes `objects.csv`.
        entries: becomes `objects.json`.
        settings: that it begins with.
    """

    def __init__(
        self,
        counts: codecs.StreamWriter,
        objects: codecs.StreamWriter,
        entries: codecs.StreamWriter,
        settings: dict[str, Any],
    ) -> None:
        self._counts, self._objects = (
            csv.writer(file, lineterminator="\n") for file in (counts, objects)
        )
        self._counts.writerow(("file", "count", "probability"))
        self._objects.writerow(("file", "object", "x0", "y0", "x1", "y1", "probability"))
        self._entries = entries
        self._before = f'{{"settings": {json.dumps(settings)},\n"files": [\n'  # the next entry

    def write(self, found: Found) -> None:
        """Write what was found in the next file."""
        probability = found.count_probs[found.count].item()
        self._counts.writerow((found.name, found.count, f"{probability:.6f}"))
        objects = zip(found.boxes.tolist(), found.probabilities, strict=True)
        for number, (box, probability) in enumerate(objects, 1):
            edges = (f"{edge:.2f}" for edge in box)
            self._objects.writerow((found.name, number, *edges, f"{probability:.6f}"))
        self._entries.write(self._before + json.dumps(_entry(found)))
        self._before = ",\n"

    def end(self) -> None:
        """Write what comes after the last file."""
        self._entries.write("\n]}\n")


def _entry(found: Found) -> dict[str, Any]:
    columns = (found.boxes, found.z_where, found.z_what)
    objects = zip(*(each.tolist() for each in columns), found.probabilities, strict=True)
    names = ("box", "z_where", "z_what", "probability")
    return {
        "file": found.name,
        "count": found.count,
        "count_probs": found.count_probs.tolist(),
        "objects": [dict(zip(names, values, strict=True)) for values in objects],
    }


@contextlib.contextmanager
def tables(folder: Path, settings: dict[str, Any]) -> Iterator[Tables]:
    """Open the tables of a folder; they get their names where the block ends.

    Args:
        folder: that they lie in.
        settings: that `objects.json` begins with.

    Raises:
        WriteError: one cannot be written.
    """
    with (
        _text(folder / COUNTS_FILE) as counts,
        _text(folder / OBJECTS_TABLE) as objects,
        _text(folder / OBJECTS_FILE) as entries,
    ):
        opened = Tables(counts, objects, entries, settings)
        yield opened
        opened.end()


@contextlib.contextmanager
def _text(path: Path) -> Iterator[codecs.StreamWriter]:
    with replacing(path) as file:
        yield codecs.getwriter("utf-8")(file)
