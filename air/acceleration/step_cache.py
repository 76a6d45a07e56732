"""Compiled steps in a folder of the user's own: compiling takes a minute, loading milliseconds.

What is kept is machine code and runs as whoever loads it, so nobody else may reach the folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from air.errors import WriteError
from air.runs.files import write_whole

MOST_KEPT = 64  # files of some 3 MB each

log = logging.getLogger(__name__)


def kept_step(key: str, compile_step: Callable[[], bytes]) -> bytes:
    """Return a compiled step: the one that is kept, or else one compiled now, which is kept then.

    Of several processes that need one at once, one compiles it and the others wait. A damaged file
    is made again. Where there is no folder to keep it in, a line says so.

    Args:
        key: a hash of all that decides what is compiled.
        compile_step: returns the step as bytes.
    """
    with contextlib.ExitStack() as stack:
        try:
            path = _own_folder() / key
            with contextlib.suppress(OSError, ValueError):  # no lock needed: files appear whole
                return _read(path)
            # A few locks for all steps, as none of them can ever be deleted.
            stack.enter_context(_held(path.with_name(f"{key[:2]}.lock")))
        # RuntimeError: there is no home. NotImplementedError: no locks on this file system.
        except (OSError, RuntimeError, NotImplementedError) as error:
            log.warning("the compiled step is not kept for other runs: %s", error)
            return compile_step()
        try:
            return _read(path)  # another process may have compiled it meanwhile
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            log.warning("%s is damaged (%s): compiling its step again", path, error)
        step = compile_step()
        _keep(path, step)
        return step


def _own_folder() -> Path:
    """Return the folder of compiled steps, made if need be.

    Raises:
        OSError: it cannot be made, or others can reach it.
    """
    cache = os.environ.get("AIR_CACHE_DIR")
    if not cache:
        cache = os.path.join(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "air")
    folder = Path(cache).expanduser() / "compiled_steps"
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.stat()
    if status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise PermissionError(f"{folder} must be the user's own, with mode 0700")
    return folder


@contextlib.contextmanager
def _held(path: Path) -> Iterator[None]:
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("waiting for another process, which is compiling a step")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _keep(path: Path, step: bytes) -> None:
    try:
        write_whole(path, hashlib.sha256(step).digest() + step)
    except WriteError as error:
        log.warning("the compiled step is not kept for other runs: %s", error)
    with contextlib.suppress(OSError):  # another process is deleting them
        steps = [file for file in path.parent.iterdir() if file.suffix != ".lock"]
        steps.sort(key=lambda file: file.stat().st_mtime, reverse=True)
        for file in steps[MOST_KEPT:]:
            file.unlink()


def _read(path: Path) -> bytes:
    """Read a step.

    Raises:
        OSError: it is not there, or cannot be read.
        ValueError: its content is not what was written; running that could do anything.
    """
    content = path.read_bytes()
    digest, step = content[:32], content[32:]
    if hashlib.sha256(step).digest() != digest:
        raise ValueError("wrong checksum")
    os.utime(path)  # used now: the last to be deleted
    log.info("the step is compiled already: %s", path)
    return step
