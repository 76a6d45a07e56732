"""`scripts/train.py` started as a process of its own, for what is to happen while it runs."""

import subprocess
import sys
import time

from tests.helpers.repository import REPOSITORY


def start(folder, *overrides, under=()):
    """Start training in a folder; its output, errors among it, is piped.

    Args:
        folder: where the command is started.
        overrides: as on the command line.
        under: what stands between Python and the script, such as `torchrun`'s own arguments.
    """
    return subprocess.Popen(
        [sys.executable, *under, str(REPOSITORY / "scripts" / "train.py"), *overrides],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for(condition, process, seconds=240):
    """Wait until a condition holds, or fail if the process ends before."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)
