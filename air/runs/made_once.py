"""What is made once and read ever after, also by several processes that need it at once."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout

from air.errors import WriteError
from air.runs.files import make_folder

T = TypeVar("T")

log = logging.getLogger(__name__)


def made_once(path: Path, read: Callable[[Path], T], make: Callable[[Path], T]) -> T:
    """Return what a file holds, which is made first unless it is there.

    Of several processes that need it at once, one makes it and the others wait. A damaged file is
    made again, with a warning.

    Args:
        path: the file, named by a hash of all that its content depends on; its folder is made if
            absent.
        read: reads it; any exception says that it is not there, or damaged.
        make: writes it, whole or not at all, and returns the same as `read`.

    Raises:
        WriteError: the folder cannot be made, or holds no locks; or as `make`.
    """
    # Without the lock first: files appear whole, and the folder may be read-only.
    with contextlib.suppress(Exception):
        return read(path)
    make_folder(path.parent)
    with _turn(path):
        try:
            return read(path)  # another process may have made it meanwhile
        except Exception as error:  # whatever is wrong with the file, it can be made again
            if path.exists():
                log.warning("%s is damaged (%s): it is made again", path, error)
        return make(path)


@contextlib.contextmanager
def _turn(path: Path) -> Iterator[None]:
    """Wait until no other process is making the file."""
    # A few locks for all files of a folder, as none of them can ever be deleted.
    lock = FileLock(path.with_name(f"{path.name[:2]}.lock"))
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.info("waiting for another process, which is making %s", path)
            lock.acquire()
    # NotImplementedError: no locks on this file system.
    except (OSError, NotImplementedError) as error:
        raise WriteError(f"{path}: cannot be locked for writing: {error}") from None
    try:
        yield
    finally:
        lock.release()
