"""How the C library of Linux handles the memory that tensors give back."""

from __future__ import annotations

import ctypes
import platform

_TRIM_THRESHOLD = -1  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of <malloc.h>
_MMAP_THRESHOLD = -3


def keep_freed_memory() -> bool:
    """Let the process keep the memory of freed tensors for the next ones.

    glibc hands what a step frees back to the kernel, as soon as it is more than twice the largest
    tensor, and the next step's tensors have to be cleared page by page again: at batch 128 that is
    a fifth of a step. Afterwards blocks of up to 32 MiB come from memory that the process keeps.

    Returns:
        Whether it could be done: only glibc has the settings.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_MMAP_THRESHOLD, 32 << 20) and mallopt(_TRIM_THRESHOLD, (1 << 31) - 1))
