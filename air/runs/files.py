"""Files that are there whole or not at all, and one line about a file that cannot be written."""

from __future__ import annotations

import contextlib
import csv
import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from air.errors import WriteError

PARTIAL = ".partial"  # what a file is called beside its name until it is whole


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn whatever keeps a file from being written into one line that names it.

    Raises:
        WriteError: the disk is full, the file would be too large, it may not be written, …
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise WriteError(f"{path}: cannot be written: {reason}") from None


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing so that a crash at any moment leaves the old one or the new one.

    Args:
        path: the file; only one process at a time may write it. It gets its new content where the
            block ends, and keeps the old one if an exception ends the block.

    Raises:
        WriteError: it cannot be written; what was there still is.
    """
    partial = path.with_name(path.name + PARTIAL)
    with naming(path):
        try:
            with partial.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        except BaseException:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            raise


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write a file so that a crash at any moment leaves the old one or the new one.

    Args:
        path: the file; only one process at a time may write it.
        content: all of it.

    Raises:
        WriteError: it cannot be written; what was there still is.
    """
    with replacing(path) as file:
        file.write(content)


def write_csv(path: Path, names: Sequence[str], lines: Iterable[Mapping[str, Any]]) -> None:
    """Write a table, whole or not at all, into a folder that is made if absent.

    Args:
        path: the file.
        names: of its columns.
        lines: a value for each name; without one the cell is empty.

    Raises:
        WriteError: it cannot be written; what was there still is.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    make_folder(path.parent)
    write_whole(path, text.getvalue().encode())


def make_folder(folder: Path) -> None:
    """Make a folder for files, with those above it, unless it is there.

    Raises:
        WriteError: it cannot be made.
    """
    with naming(folder):
        folder.mkdir(parents=True, exist_ok=True)
