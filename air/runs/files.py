"""Files that are there whole or not at all, and one line about a file that cannot be written."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

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


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write a file so that a crash at any moment leaves the old one or the new one.

    Args:
        path: the file; only one process at a time may write it.
        content: all of it.

    Raises:
        WriteError: it cannot be written; what was there still is.
    """
    with naming(path), _replacing(path) as partial, partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def link_whole(existing: Path, path: Path) -> None:
    """Give a file a second name, or a copy where the file system has no hard links.

    Args:
        existing: the file.
        path: its other name; what was there is replaced, in one step.

    Raises:
        WriteError: as `write_whole`.
    """
    with naming(path), _replacing(path) as partial:
        partial.unlink(missing_ok=True)
        try:
            os.link(existing, partial)
        except OSError:
            shutil.copyfile(existing, partial)


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Give the name under which to prepare a file, and put the file in its place at the end."""
    partial = path.with_name(path.name + PARTIAL)
    try:
        yield partial
        os.replace(partial, path)
    finally:  # also after success: replacing a file with another name of itself leaves both
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
