"""Keeping freed memory: a process of its own shows it in its page faults."""

import platform
import subprocess
import sys

import pytest

COUNT_FAULTS = """
import resource, sys
import torch
from air.acceleration.allocator import keep_freed_memory

if sys.argv[1] == "keep":
    assert keep_freed_memory()

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def use_and_free():
    return len([torch.ones(4 << 20) for _ in range(8)])  # 16 MiB each

for _ in range(10):  # alignment costs some blocks before their places settle
    use_and_free()
before = faults()
for _ in range(10):
    use_and_free()
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has the settings")
def test_memory_of_a_freed_tensor_serves_the_next_one() -> None:
    faults = {
        how: int(
            subprocess.run(
                [sys.executable, "-c", COUNT_FAULTS, how],
                check=True,
                capture_output=True,
                text=True,
            ).stdout
        )
        for how in ("keep", "return")
    }
    assert faults["keep"] <= faults["return"] / 10
