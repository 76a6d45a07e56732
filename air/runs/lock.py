"""Folders that one process alone works in: of a run, a sweep, or scenes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from air.errors import RunFolderError

LOCK_FILE = ".lock"


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a folder against every other process.

    Raises:
        RunFolderError: another process is using it.
    """
    lock = FileLock(folder / LOCK_FILE)
    try:
        lock.acquire(timeout=0.2)  # seconds: longer than `is_held` takes to try
    except Timeout:
        raise RunFolderError(f"{folder}: another process is running in this folder") from None
    with lock:
        yield


def is_held(folder: Path) -> bool:
    """Return whether another process is running in a folder, as far as its lock can be tried."""
    if not (folder / LOCK_FILE).exists():
        return False
    try:
        with FileLock(folder / LOCK_FILE).acquire(timeout=0):
            return False
    except Timeout:
        return True
    except OSError:  # someone else's folder
        return False
