"""What `torchrun` tells a process: how many there are, which one it is, and where they meet.

Nothing here imports torch until processes have to meet, so that the command line stays quick.
"""

from __future__ import annotations

import contextlib
import functools
import os
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

# An evaluation of many held-out images keeps the others waiting; a process that ends is missed at
# once.
PATIENCE = timedelta(days=1)


@dataclass(frozen=True)
class Launch:
    """The place of this process among those of its job.

    Attributes:
        rank: its number, from 0.
        size: how many processes there are, on all machines.
        local_rank: its number on this machine.
        local_size: how many processes there are on this machine.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1


ONE_PROCESS = Launch()


def find_launch() -> Launch:
    """Return what the environment says; a process that was started alone is the only one."""
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    if not all(os.environ.get(name) for name in names):
        return ONE_PROCESS
    return Launch(*(int(os.environ[name]) for name in names[:4]))


@functools.cache
def meeting_point() -> Any:
    """Return the store that all processes of the job reach, in this attempt to run it."""
    from torch.distributed.rendezvous import rendezvous  # slow

    store, _, _ = next(iter(rendezvous("env://", timeout=PATIENCE)))
    return store


def agreed(name: str, value: str) -> str:
    """Return what the first process to ask proposed, so that all use the same.

    Args:
        name: of what is agreed upon.
        value: what this process would use.
    """
    if find_launch().size == 1:
        return value
    chosen: bytes = meeting_point().compare_set(f"air/agreed/{name}", "", value)
    return chosen.decode()


def note_error() -> None:
    """Tell the other processes that this one ends with an error of its own."""
    if find_launch().size > 1:
        with contextlib.suppress(RuntimeError):  # they no longer meet
            meeting_point().add("air/errors", 1)


def is_to_say(line: str, follows: bool = False) -> bool:
    """Return whether this process is the one to print why it ends.

    Args:
        line: what is wrong; of several processes that see the same, one says it.
        follows: whether it only follows from another's end, and that one may have said why.
    """
    if find_launch().size == 1:
        return True
    try:
        if follows and meeting_point().add("air/errors", 0) > 0:
            return False
        first: bool = meeting_point().add(f"air/said/{'' if follows else line}", 1) == 1
        return first
    except RuntimeError:  # they no longer meet: better twice than never
        return True
