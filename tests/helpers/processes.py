"""`scripts/train.py` in a process of its own, which goes on while a test does something else."""

import subprocess
import sys
import time

from tests.helpers.repository import REPOSITORY


def start(folder, *overrides):
    """Start training in a folder."""
    return subprocess.Popen(
        [sys.executable, str(REPOSITORY / "scripts" / "train.py"), *overrides],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for(condition, process):
    """Wait until something is so, as long as the process runs."""
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)
