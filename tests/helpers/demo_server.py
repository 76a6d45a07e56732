"""`scripts/demo.py` started as a user starts it, for several test files."""

import contextlib
import os
import re
import signal
import subprocess
import sys

from tests.helpers.repository import REPOSITORY

SCRIPT = str(REPOSITORY / "scripts" / "demo.py")


def command(*overrides, env=None):
    """Run the command to its end."""
    return subprocess.run(
        [sys.executable, SCRIPT, *overrides],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **(env or {})},
    )


@contextlib.contextmanager
def served(*overrides):
    """Serve a page on a free port: yields its URL and the process."""
    process = subprocess.Popen(
        [sys.executable, SCRIPT, *overrides, "port=0"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        line = process.stdout.readline()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+\n", line), line + process.communicate()[0]
        yield line.strip(), process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
