"""How many threads PyTorch computes with, and how they wait for one another.

Several threads share each operation and wait for the last of them, thousands of times a step: where
another program has one of the cores, all of them wait for that core. Sums are split among them too,
so results are the same only with the same number. It is therefore part of what a run is, and not
what the machine happens to have.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

# Read when PyTorch is loaded. Threads that wait actively keep others from the core they wait on.
_WAITING = "OMP_WAIT_POLICY"


def wait_passively() -> None:
    """Let threads sleep while they wait; to be called before PyTorch is loaded.

    What the user has set comes first.
    """
    os.environ.setdefault(_WAITING, "PASSIVE")


@contextlib.contextmanager
def computing_with(threads: int) -> Iterator[None]:
    """Compute with so many threads, and then with as many as before.

    Args:
        threads: of PyTorch, in each operation.
    """
    import torch  # after `wait_passively`, which commands call before they load it

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
