"""A sweep whose jobs are killed, stopped, raced, torn and starved of disk, until all have finished.

The commands are those that a user types; tests/training/test_crashes.py has every single moment.
"""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from air.cli.compose import compose_config
from air.data.loading import load_data
from air.runs.checkpoint import numbered_checkpoints
from air.runs.result import read_result
from tests.helpers.killing import assert_same_run, tear_last_checkpoint
from tests.helpers.repository import REPOSITORY

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="kills and limits processes"),
]

SEEDS = (0, 1)
SEED_OVERRIDE = f"seed={','.join(map(str, SEEDS))}"
SEED_OF_CHANCE = int(os.environ.get("AIR_CHAOS_SEED", "0"))
LIMITED = ("bash", "-c", 'ulimit -f 400; exec "$@"', "-")  # KiB: less than a checkpoint
PATIENCE = 240  # seconds, on a busy machine
ENDS = {0, 1, 75, -signal.SIGKILL}  # finished, refused or failed, stopped, killed


class Sweep:
    """Jobs in folders of their own, each started anew until it has finished."""

    def __init__(self, folder, overrides, root, chance):
        self.folder = folder
        self.overrides = overrides
        self.cache = root / "scenes"
        self.chance = chance

    def job(self, seed):
        return self.folder / str(seed)

    def start(self, seed, under=()):
        job = self.job(seed)
        begun = (job / "config.yaml").exists()
        how = (f"resume={job}",) if begun else (f"seed={seed}", f"hydra.run.dir={job}")
        command = [sys.executable, str(REPOSITORY / "scripts" / "train.py"), *how]
        return subprocess.Popen(
            [*under, *command, *(() if begun else self.overrides)],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def end(self, process, number=None, when=lambda: True):
        """Wait for a process, after sending it a signal at a random moment after an event."""
        if number is not None:
            deadline = time.monotonic() + PATIENCE
            while process.poll() is None and not when() and time.monotonic() < deadline:
                time.sleep(0.02)
            time.sleep(self.chance.uniform(0, 1.5))
            process.send_signal(number)
        output = process.communicate(timeout=PATIENCE)[0]
        assert process.returncode in ENDS, output
        assert "Traceback" not in output
        return process.returncode, output

    def has_begun(self, seed):
        """Return a condition: this start of the job has got as far as its folder's log."""
        log = self.job(seed) / "train.log"
        before = log.stat().st_size if log.exists() else -1
        return lambda: log.exists() and log.stat().st_size > before

    def killed(self, seed):
        self.end(self.start(seed), signal.SIGKILL, self.has_begun(seed))

    def stopped(self, seed):
        status, output = self.end(self.start(seed), signal.SIGTERM, self.has_begun(seed))
        if status == 75:
            assert "continue with: " in output

    def started_twice(self, seed):
        processes = [self.start(seed), self.start(seed)]
        when = self.has_begun(seed)
        ends = [self.end(each, signal.SIGKILL, when) for each in processes]
        refusals = [output for status, output in ends if status == 1]
        assert all("another process" in each or "already holds" in each for each in refusals)

    def on_a_full_disk(self, seed):
        before = numbered_checkpoints(self.job(seed))
        status, output = self.end(self.start(seed, LIMITED))
        if status == 1:
            errors = [line for line in output.splitlines() if line.startswith("error: ")]
            assert len(errors) == 1
            assert "cannot be written: File too large" in errors[0]
        assert numbered_checkpoints(self.job(seed)) == before

    def torn(self, seed):
        process = self.start(seed)
        while process.poll() is None and len(numbered_checkpoints(self.job(seed))) < 2:
            time.sleep(0.02)
        process.kill()
        self.end(process)
        assert tear_last_checkpoint(self.job(seed))
        files = numbered_checkpoints(self.job(seed))
        _, output = self.end(self.start(seed), signal.SIGKILL, self.has_begun(seed))
        assert f"{files[-1]}: damaged" in output
        assert f"using the one before it, {files[-2]}" in output

    def without_its_data(self, seed):
        process, when = self.start(seed), self.has_begun(seed)
        while process.poll() is None and not when():
            time.sleep(0.02)
        for path in self.cache.glob("*.npz"):
            if self.chance.random() < 0.5:
                path.unlink(missing_ok=True)
            else:
                path.write_bytes(path.read_bytes()[:5000])
        self.end(process, signal.SIGKILL)

    def finish(self, seed):
        for _ in range(2):
            if self.is_finished(seed):
                return
            self.end(self.start(seed))

    def is_finished(self, seed):
        result = read_result(self.job(seed))
        return result is not None and result.status == "finished"


def undisturbed(train_command, tmp_path):
    """Return the words that ask for a small sweep, and the folder of one that nothing disturbed."""
    overrides = ("experiment=smoke", f"data.root={tmp_path / 'data'}", "train.step=eager")
    overrides += ("train.num_iterations=40", "train.batch_size=16", "train.num_pictures=1")
    overrides += ("data.num_test=64", "train.eval_size=64")
    overrides += ("train.log_every=7", "train.eval_every=6", "train.save_every=5")
    load_data(compose_config(overrides).data)
    train_command("-m", *overrides, SEED_OVERRIDE, f"hydra.sweep.dir={tmp_path / 'whole'}")
    return overrides, tmp_path / "whole"


def test_a_disturbed_sweep_ends_like_an_undisturbed_one(train_command, tmp_path):
    chance = random.Random(SEED_OF_CHANCE)
    overrides, whole = undisturbed(train_command, tmp_path)
    disturbed = tmp_path / "disturbed"
    disturbed.mkdir()
    sweep = Sweep(disturbed, overrides, tmp_path / "data", chance)
    what = [sweep.killed, sweep.killed, sweep.stopped, sweep.started_twice]
    what += [sweep.on_a_full_disk, sweep.torn, sweep.without_its_data]
    chance.shuffle(what)
    print(f"AIR_CHAOS_SEED={SEED_OF_CHANCE}")
    for i, disturb in enumerate(what):
        seed = SEEDS[i % len(SEEDS)]
        disturb(seed)  # also where an earlier disturbance came too late, and it has finished
        files = [path.name for path in numbered_checkpoints(sweep.job(seed))]
        print(f"job {seed} {disturb.__name__}: {' '.join(files)}", flush=True)
    for seed in SEEDS:
        sweep.finish(seed)
        assert_same_run(whole / str(seed), sweep.job(seed))


def test_a_sweep_killed_and_started_again_runs_only_what_is_unfinished(train_command, tmp_path):
    chance = random.Random(SEED_OF_CHANCE)
    overrides, whole = undisturbed(train_command, tmp_path)
    folder = tmp_path / "again"
    asked = ("-m", *overrides, SEED_OVERRIDE, f"hydra.sweep.dir={folder}")
    for job in SEEDS:  # killed while it trains, with all jobs before it finished
        process = subprocess.Popen(
            [sys.executable, str(REPOSITORY / "scripts" / "train.py"), *asked],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=tmp_path,
        )
        deadline = time.monotonic() + PATIENCE
        while not numbered_checkpoints(folder / str(job)) and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(chance.uniform(0, 0.5))
        process.kill()
        process.wait()
    first = folder / "0" / "result.json"
    before = first.stat().st_mtime_ns
    said = train_command(*asked).stdout
    assert f"job 0 has finished before: {folder / '0'}" in said
    assert first.stat().st_mtime_ns == before
    for job in SEEDS:
        assert_same_run(whole / str(job), folder / str(job))
