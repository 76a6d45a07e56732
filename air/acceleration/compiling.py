"""A recorded step as machine code of its own, by TorchInductor."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch._inductor.config
from torch import Tensor
from torch.fx import Graph, GraphModule, Node

from air.acceleration.ordering import in_order
from air.acceleration.step_cache import kept_step
from air.runs.files import write_whole

FlatStep = Callable[[Sequence[Tensor]], list[Tensor | None]]  # of inputs and results in a row

_OPTIONS = {"fallback_random": True}  # random numbers of PyTorch's own
# Settings: the compiler's notes of what it compiled last, and a folder for another device, which is
# the working folder by default.
_NO_PART_OF_A_STEP = ("aot_inductor.metadata", "xpu.cutlass_dir")

log = logging.getLogger(__name__)


def missing_for_compiling() -> str | None:
    """Return what this machine lacks to compile a step, in words, or None.

    A step that is kept would not need it; but which runs can start must not depend on what is kept.
    """
    if shutil.which(_compiler()) is None:
        return f"a C++ compiler ({_compiler()}; the environment variable CXX may name another)"
    return None


def _compiler() -> str:
    return os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")


def compile_recording(recording: GraphModule, inputs: Sequence[Tensor]) -> FlatStep:
    """Return what does the same as a recording, where small operations are one loop.

    It is loaded if the same has been compiled on this machine before. Random numbers stay the
    recording's own, and results the same but for rounding.

    Args:
        recording: of PyTorch's operations, for inputs of one shape; changed in place.
        inputs: some of those to come, in a row.

    Raises:
        WriteError: no temporary file can be written.
    """
    recording.graph = in_order(recording)
    constants = lift_constants(recording)
    graph = recording.graph
    (output,) = graph.find_nodes(op="output")
    is_tensor = [isinstance(result, Node) for result in output.args[0]]
    output.args = (tuple(result for result in output.args[0] if isinstance(result, Node)),)
    flat = GraphModule({}, graph)
    # What is compiled takes the strides of its inputs for granted.
    examples = [tensor.detach().contiguous() for tensor in (*inputs, *constants)]
    key = _key(graph, examples)
    loaded = _load(kept_step(key, lambda: _compile(flat, examples)))

    def step(inputs: Sequence[Tensor]) -> list[Tensor | None]:
        results = iter(loaded.boxed_run([each.contiguous() for each in (*inputs, *constants)]))
        return [next(results) if tensor else None for tensor in is_tensor]

    return step


def lift_constants(recording: GraphModule) -> list[Tensor]:
    """Turn the tensors that a recording holds into inputs, after those that it has.

    Their values are then no part of what is compiled.

    Args:
        recording: changed in place; to be recompiled.

    Returns:
        The tensors, in the order of the new inputs.
    """
    graph = recording.graph
    last = graph.find_nodes(op="placeholder")[-1]
    lifted: dict[str, Node] = {}
    for node in graph.find_nodes(op="get_attr"):
        if node.target not in lifted:
            with graph.inserting_after(last):
                last = lifted[node.target] = graph.placeholder(f"lifted_{len(lifted)}")
        node.replace_all_uses_with(lifted[node.target])
        graph.erase_node(node)
    return [getattr(recording, name) for name in lifted]


def _key(graph: Graph, inputs: Sequence[Tensor]) -> str:
    """Return a hash of all that decides what the compiler makes."""
    # What the compiler says of itself, and of the processor that it compiles for.
    asked = (_compiler(), "-march=native", "-E", "-v", "-x", "c++", os.devnull)
    in_english = {**os.environ, "LC_ALL": "C"}
    told = subprocess.run(asked, cwd=os.sep, env=in_english, capture_output=True, check=False)
    settings = torch._inductor.config.get_config_copy()  # with what the user has set
    for name in _NO_PART_OF_A_STEP:
        settings.pop(name, None)
    parts = (
        str(graph),
        str([(each.dtype, each.device, each.shape) for each in inputs]),
        str(_OPTIONS),
        repr(sorted(settings.items())),
        torch.__version__,
        torch.__config__.show(),
        str(torch.get_num_threads()),
        told.stderr.decode(errors="replace"),
    )
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _compile(flat: GraphModule, inputs: Sequence[Tensor]) -> bytes:
    log.info("compiling the step, which takes about a minute; the next run need not")
    # It warns that there is no CUDA, which is the reason for compiling.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    from torch._inductor.package.package import package_aoti  # slow to import

    with TemporaryDirectory() as folder, torch.no_grad(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Can't find Python.h")  # which is not included
        options = {**_OPTIONS, "aot_inductor.package": True, "aot_inductor.output_path": folder}
        files: Any = torch._inductor.aot_compile(flat, tuple(inputs), options=options)
        package = io.BytesIO()
        package_aoti(package, [file for file in files if not file.endswith(".cpp")])
    return package.getvalue()


def _load(package: bytes) -> Any:
    # As `torch._inductor.aoti_load_package` does, which takes seconds to import.
    with TemporaryDirectory() as folder:
        path = Path(folder) / "step.pt2"
        write_whole(path, package)
        return torch._C._aoti.AOTIModelPackageLoader(str(path), "model", False, 1, -1)
