"""A recorded step as machine code of its own, by TorchInductor."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.fx import GraphModule

log = logging.getLogger(__name__)


def missing_for_compiling() -> str | None:
    """Return what this machine lacks to compile a step, in words, or None."""
    compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(compiler) is None:
        return f"a C++ compiler ({compiler}; the environment variable CXX may name another)"
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        return "Python's headers (Python.h; in Debian's package python3-dev)"
    return None


def compile_recording(recording: GraphModule) -> Callable[..., Any]:
    """Return what does the same as a recording, where small operations are one loop.

    The first call compiles: tens of seconds, a third of it where PyTorch's cache has the result.
    Random numbers stay the recording's own, and results the same but for rounding.

    Args:
        recording: of PyTorch's operations, for inputs of one shape; changed in place.
    """
    recording.recompile()
    # It warns that there is no CUDA, which is the reason for compiling.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    log.info("compiling the step, which takes about a minute, and less the next time")
    return torch.compile(
        recording,
        fullgraph=True,
        dynamic=False,
        # Random numbers of PyTorch's own, and calls from C++, which take less time than Python's.
        options={"fallback_random": True, "cpp_wrapper": True},
    )
