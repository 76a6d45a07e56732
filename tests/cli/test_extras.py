"""What is not installed is named, with the extra that brings it."""

import os
import subprocess
import sys

import pytest

from tests.helpers.repository import REPOSITORY


@pytest.mark.parametrize(
    ("script", "overrides", "package", "extra"),
    [
        ("dashboard", ("save=false",), "wandb_workspaces", "dashboard"),
        ("demo", ("run={run}",), "uvicorn", "demo"),
        ("evaluate", ("run={run}",), "torchmetrics", "evaluate"),
        ("train", ("experiment=smoke", "tracking=trackio"), "trackio", "trackio"),
    ],
)
def test_without_an_extra_a_command_says_how_to_install_it(
    smoke_run, tmp_path, script, overrides, package, extra
):
    (tmp_path / f"{package}.py").write_text(f"raise ModuleNotFoundError('no', name={package!r})")
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    # A process of its own: this one may have imported the package.
    result = subprocess.run(
        [
            sys.executable,
            str(REPOSITORY / "scripts" / f"{script}.py"),
            *(override.format(run=smoke_run) for override in overrides),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 1
    assert result.stderr == (
        f"error: {package}: is not installed; this needs the extra {extra!r}: "
        f'pip install -e ".[{extra}]"\n'
    )
    assert not list(tmp_path.glob("outputs/runs/*/*"))
