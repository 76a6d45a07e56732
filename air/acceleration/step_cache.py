"""Compiled steps in a folder of the user's own: compiling takes a minute, loading milliseconds.

What is kept is machine code and runs as whoever loads it, so nobody else may reach the folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from collections.abc import Callable
from pathlib import Path

from air.errors import WriteError
from air.runs.files import write_whole
from air.runs.made_once import made_once

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

    def make(path: Path) -> bytes:
        step = compile_step()
        _keep(path, step)
        return step

    try:
        return made_once(_own_folder() / key, _read, make)
    except WriteError as error:
        _say_not_kept(error)
        return compile_step()


def _own_folder() -> Path:
    """Return the folder of compiled steps, made if need be.

    Raises:
        WriteError: it cannot be made, or others can reach it.
    """
    cache = os.environ.get("AIR_CACHE_DIR")
    try:
        if not cache:
            cache = os.path.join(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "air")
        folder = Path(cache).expanduser() / "compiled_steps"
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.stat()
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home
        raise WriteError(str(error)) from None
    if status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise WriteError(f"{folder} must be the user's own, with mode 0700")
    return folder


def _say_not_kept(error: WriteError) -> None:
    log.warning("the compiled step is not kept for other runs: %s", error)


def _keep(path: Path, step: bytes) -> None:
    try:
        write_whole(path, hashlib.sha256(step).digest() + step)
    except WriteError as error:
        _say_not_kept(error)
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
