"""Commands run inside the process of the tests: for what needs no process of its own.

To start Python and import torch takes seconds, each time.
"""

import contextlib
import io
import logging
import os
import runpy
import subprocess
import sys
from unittest import mock

from tests.helpers.repository import REPOSITORY


def run_script(name, *overrides):
    """Run `scripts/NAME.py` as if from the command line.

    Returns:
        Its exit status and what it printed, as `subprocess.run` does.
    """
    script = str(REPOSITORY / "scripts" / f"{name}.py")
    stdout, stderr = io.StringIO(), io.StringIO()
    status = 0
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr), _as_before():
        sys.argv = [script, *overrides]
        try:
            runpy.run_path(script, run_name="__main__")
        except SystemExit as end:  # as Python does where nobody catches it
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
            if isinstance(end.code, str):
                print(end.code, file=sys.stderr)
    return subprocess.CompletedProcess(sys.argv, status, stdout.getvalue(), stderr.getvalue())


@contextlib.contextmanager
def _as_before():
    """Give back the arguments, the environment, and the handlers of the log that Hydra replaces."""
    root = logging.getLogger()
    arguments, handlers, level = sys.argv, list(root.handlers), root.level
    try:
        with mock.patch.dict(os.environ):
            yield
    finally:
        sys.argv, root.handlers[:] = arguments, handlers
        root.setLevel(level)
