"""The machine's ceilings, against which a step is compared."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass

import torch

from air.benchmark.timing import interleaved

_MATRIX_SIZE = 2048
_COPIED_BYTES = 1 << 28


@dataclass(frozen=True)
class Machine:
    """A machine and its measured ceilings.

    Attributes:
        device: cpu or the GPU's name.
        threads: that torch computes with.
        torch: its version.
        python: its version.
        flops: floating-point operations per second of a large float32 matrix product.
        bandwidth: bytes per second, read and written, of a large copy.
    """

    device: str
    threads: int
    torch: str
    python: str
    flops: float
    bandwidth: float


def measure_machine(device: torch.device) -> Machine:
    """Measure the ceilings of a device."""
    a, b = (torch.randn(_MATRIX_SIZE, _MATRIX_SIZE, device=device) for _ in range(2))
    product = torch.empty_like(a)
    source = torch.ones(_COPIED_BYTES // 4, device=device)
    target = torch.empty_like(source)
    times = interleaved(
        {
            "product": lambda: torch.mm(a, b, out=product),
            "copy": lambda: target.copy_(source),
        },
        rounds=10,
    )
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return Machine(
        device=f"{name}, {os.cpu_count()} cores",
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        python=platform.python_version(),
        flops=2 * _MATRIX_SIZE**3 / min(times["product"].seconds),
        bandwidth=2 * _COPIED_BYTES / min(times["copy"].seconds),
    )
