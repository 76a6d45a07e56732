"""A disk that fills up: one line that names the file, nothing half there, the same in the end."""

import logging
import os
import pkgutil
import resource
import subprocess

import pytest

from air.cli.compose import compose_config
from air.data.loading import load_data
from air.errors import WriteError
from air.runs.checkpoint import (
    best_checkpoint,
    read_checkpoint,
    read_latest,
    write_checkpoint,
)
from air.runs.folder import claimed
from air.runs.result import read_result
from air.tracking.jsonl import JSONLTracker, read_metrics
from air.training.run import train
from tests.helpers.checkpoints import checkpoint_of
from tests.helpers.killing import Forked, assert_same_run
from tests.helpers.models import tiny

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="limits a process that it forks")


def limit(size):
    """Let no file of this process grow beyond a size, in bytes; Python ignores the signal."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def train_full(config, run_dir, size, name):
    """Train in a process in which the disk is full from the call of a function on."""

    def work():
        function = pkgutil.resolve_name(name)

        def full(*arguments, **keywords):
            limit(size(run_dir) if callable(size) else size)
            return function(*arguments, **keywords)

        pytest.MonkeyPatch().setattr(name, full)
        train(config, run_dir, [])

    return Forked(work).wait()


def metrics_size(run_dir):
    return (run_dir / "metrics.jsonl").stat().st_size + 10


FULL = {  # the largest size, from the call of what on
    "overrides.yaml": (2, "air.training.run.write_config"),
    "config.yaml": (100, "air.training.run.write_config"),
    "metrics.jsonl": (metrics_size, "air.training.metrics.Totals.take"),
    "checkpoints/best.pt": (20_000, "air.training.trainer.write_checkpoint"),
    "checkpoints/00000005.pt": (20_000, "air.training.trainer.save_checkpoint"),
    "pictures/reconstructions-00000003.png": (2_000, "air.training.trainer.save_figure"),
    "pictures/reconstructions.png": (2_000, "air.training.run.save_figure"),
    "result.json": (50, "air.training.run.write_result"),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The undisturbed run."""
    return tmp_path_factory.mktemp("whole") / "run"


OFTEN = ("config.yaml", "metrics.jsonl", "checkpoints/best.pt", "result.json")
RARELY = [pytest.param(file, marks=pytest.mark.slow) for file in FULL if file not in OFTEN]


@pytest.mark.parametrize("file", [*OFTEN, *RARELY])
def test_the_run_ends_with_one_line_and_goes_on_later(uneven, scored, whole, tmp_path, file):
    # Pictures only where they are what fails: they take a second each.
    pictures = "train.num_pictures=1" if "picture" in file else "train.num_pictures=0"
    expected = whole.with_name(pictures)
    if not expected.exists():
        train(uneven(pictures), expected, [])
    run_dir = tmp_path / "run"
    status, output = train_full(uneven(pictures), run_dir, *FULL[file])
    assert status == 1, output
    errors = [line for line in output.splitlines() if "error" in line.lower()]
    assert errors == [f"error: {run_dir / file}: cannot be written: File too large"]
    assert not list(run_dir.rglob("*.partial"))
    for path in (run_dir / "checkpoints").glob("*"):
        read_checkpoint(path)
    result = read_result(run_dir)
    assert result is None or result.status == "failed"
    begun = (run_dir / "config.yaml").exists()
    train(uneven(pictures, *([f"resume={run_dir}"] if begun else [])), run_dir, [])
    assert_same_run(expected, run_dir)


def test_a_full_disk_is_one_line_of_the_command(train_command, tmp_path):
    run_dir = tmp_path / "run"
    limited = ("bash", "-c", 'ulimit -f 100; exec "$@"', "-")  # blocks of 1 KiB
    overrides = (*train_command.smoke, f"hydra.run.dir={run_dir}")
    load_data(compose_config(train_command.smoke).data)  # its cache is larger
    result = train_command(*overrides, check=False, under=limited)
    assert result.returncode == 1
    path = best_checkpoint(run_dir)
    assert result.stderr == f"error: {path}: cannot be written: File too large\n"
    assert read_result(run_dir).error == result.stderr.removeprefix("error: ").strip()
    assert not list(run_dir.rglob("*.partial"))


@pytest.mark.slow
def test_a_disk_that_is_really_full(train_command, smoke_run, tmp_path):
    """With room for one checkpoint, and W&B's files beside it; then with room for all."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=9m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("may not mount a small disk")
    try:
        overrides = (*train_command.smoke, "tracking=wandb", "tracking.mode=offline")
        result = train_command(*overrides, f"hydra.run.dir={disk}/run", check=False)
        path = disk / "run" / "checkpoints" / "00000010.pt"  # best.pt is there, and resumed from
        assert result.returncode == 1
        assert result.stderr == f"error: {path}: cannot be written: No space left on device\n"
        assert read_latest(disk / "run")[1].iteration == 10
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        train_command(f"resume={disk}/run")
        assert_same_run(smoke_run, disk / "run")
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_metrics_line_is_there_whole_or_not_at_all(tmp_path):
    path = tmp_path / "metrics.jsonl"

    def work():
        tracker = JSONLTracker(path)
        tracker.log(1, {"train/loss": 1.0})
        size = path.stat().st_size
        limit(size + 10)
        with pytest.raises(WriteError, match=r"metrics\.jsonl: cannot be written"):
            tracker.log(2, {"train/loss": 2.0})
        assert path.stat().st_size == size
        limit(resource.RLIM_INFINITY)
        tracker.log(3, {"train/loss": 3.0})
        tracker.finish(0)

    status, output = Forked(work).wait()
    assert status == 0, output
    assert [line["iteration"] for line in read_metrics(path)] == [1, 3]


def test_the_best_stays_when_a_better_one_cannot_be_kept(tmp_path):
    best = best_checkpoint(tmp_path)
    best.parent.mkdir()
    write_checkpoint(best, checkpoint_of(tiny(), 5))

    def work():
        limit(1000)
        write_checkpoint(best, checkpoint_of(tiny(), 10))

    assert Forked(work).wait() == (1, f"error: {best}: cannot be written: File too large\n")
    assert read_checkpoint(best).iteration == 5
    assert list(best.parent.iterdir()) == [best]


def test_the_log_is_given_up_with_one_warning(tmp_path):
    def work():
        logging.basicConfig(level=logging.INFO, force=True)
        with claimed(tmp_path / "run", resume=False):
            for number in range(3):
                logging.info("line %d", number)
                limit(10)

    status, output = Forked(work).wait()
    assert status == 0, output
    warning = f"{tmp_path}/run/train.log: cannot be written, and left out from now on"
    assert [warning in line for line in output.splitlines()].count(True) == 1
    assert "Traceback" not in output
    assert "line 2" in output
    assert "line 0" in (tmp_path / "run" / "train.log").read_text()
