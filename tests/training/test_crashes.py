"""Kills before any change to a run's folder, and races for it: in the end nothing differs."""

import os
import random

import pytest

from air.data.loading import load_data
from air.errors import RunFolderError
from air.runs.checkpoint import load_weights
from air.runs.lock import held
from air.runs.result import read_result
from air.training.run import train
from air.training.trainer import Trainer
from tests.helpers.killing import (
    Forked,
    assert_same_run,
    barrier,
    tear_last_checkpoint,
    train_killed,
)

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a process that it forks")

COLLAPSING = ("train.warn_collapse=true", "prior=constant")  # everything is counted 0


def finish(uneven, run_dir, *overrides):
    """Go on with what a kill left, as a user would: anew where no run has come to be."""
    resume = (f"resume={run_dir}",) if (run_dir / "config.yaml").exists() else ()
    train(uneven(*overrides, *resume), run_dir, [])


def check(uneven, tmp_path, moments, seed, *overrides):
    chance = random.Random(seed)
    whole = tmp_path / "whole"
    changes = train_killed(uneven(*overrides), whole)
    for at in moments(changes):
        run_dir = tmp_path / f"killed-{at}"
        assert train_killed(uneven(*overrides), run_dir, at) is None
        torn = chance.random() < 0.5 and tear_last_checkpoint(run_dir)
        again = chance.randrange(60) if chance.random() < 0.3 else None
        print(f"killed before change {at}, {changes[at]}, last torn: {torn}, again at: {again}")
        if again is not None and (run_dir / "config.yaml").exists():
            train_killed(uneven(*overrides, f"resume={run_dir}"), run_dir, again)
        finish(uneven, run_dir, *overrides)
        assert_same_run(whole, run_dir)


def around_the_best(changes):
    """Before and after a better model takes the place of the best, and at the end."""
    ours = [i for i, path in enumerate(changes) if "best.pt" in path]
    return (ours[3], ours[3] + 1, ours[-1], len(changes) - 1)


@pytest.mark.slow
def test_killed_at_a_few_moments(uneven, tmp_path, scored):
    check(uneven, tmp_path, around_the_best, 0, *COLLAPSING)


@pytest.mark.slow
def test_killed_at_every_moment(uneven, tmp_path, scored):
    pictures = "train.num_pictures=1"
    check(uneven, tmp_path, lambda all_: range(len(all_)), 1, *COLLAPSING, pictures)


def race(config, run_dir, num=3):
    """Start several processes at once on one folder; return their statuses and outputs."""
    begin = barrier(num)

    def work(begin):
        begin.wait(60)
        train(config, run_dir, [])

    return [each.wait() for each in [Forked(work, begin) for _ in range(num)]]


def test_of_runs_started_at_once_on_one_folder_one_goes_on(uneven, tmp_path, scored):
    whole, run_dir = tmp_path / "whole", tmp_path / "run"
    train(uneven(), whole, [])
    for resume in ([], [f"resume={run_dir}"]):
        ends = race(uneven(*resume), run_dir)
        refused = [output for status, output in ends if status == 1]
        # One that is late may find the run finished, and resume it: nothing is left to do then.
        assert len(refused) == 2 or (resume and all(status in (0, 1) for status, _ in ends)), ends
        for output in refused:
            line = next(line for line in output.splitlines() if line.startswith("error: "))
            assert line.startswith(f"error: {run_dir}: ")
            assert "another process" in line or "already holds a run" in line
        assert_same_run(whole, run_dir)


def test_what_another_process_did_before_the_folder_was_claimed_is_noticed(
    uneven, tmp_path, monkeypatch
):
    """Another process may go on with the run after this one has read its last checkpoint."""
    run_dir = tmp_path / "run"
    train_killed(uneven(), run_dir, at=30)
    load = load_weights

    def late(*arguments):
        load(*arguments)
        monkeypatch.setattr("air.training.run.load_weights", load)
        train(uneven(f"resume={run_dir}"), run_dir, [])

    monkeypatch.setattr("air.training.run.load_weights", late)
    with pytest.raises(RunFolderError, match="another process resumed this run meanwhile"):
        train(uneven(f"resume={run_dir}"), run_dir, [])
    assert read_result(run_dir).status == "finished"


def test_leftovers_go_at_the_next_start_but_not_those_of_a_running_process(uneven, tmp_path):
    run_dir = tmp_path / "run"
    train(uneven(), run_dir, [])
    leftovers = [
        run_dir / f"{name}.partial"
        for name in ("config.yaml", "metrics.jsonl", "result.json", "checkpoints/00000011.pt")
    ]
    for path in leftovers:
        path.write_text("half")
    with held(run_dir), pytest.raises(RunFolderError, match="another process"):
        train(uneven(f"resume={run_dir}"), run_dir, [])
    assert all(path.read_text() == "half" for path in leftovers)
    evaluation = run_dir / "evaluation.json.partial"  # of a command that does not hold the folder
    evaluation.write_text("half")
    train(uneven(f"resume={run_dir}"), run_dir, [])
    assert list(run_dir.rglob("*.partial")) == [evaluation]


@pytest.mark.parametrize("damage", ["deleted", "torn"])
def test_a_data_cache_lost_in_training_and_before_resuming_changes_nothing(
    uneven, tmp_path, scored, monkeypatch, caplog, damage
):
    whole, run_dir, root = tmp_path / "whole", tmp_path / "run", tmp_path / "data"
    config = (f"data.root={root}",)
    train(uneven(*config), whole, [])
    step = Trainer.step

    def lose(self):
        for path in (root / "scenes").glob("*"):
            if damage == "deleted":
                path.unlink()
            else:
                path.write_bytes(path.read_bytes()[:1000])
        if self.iteration == 8:
            raise KeyboardInterrupt
        step(self)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", lose)
        with pytest.raises(KeyboardInterrupt):
            train(uneven(*config), run_dir, [])
    load_data.cache_clear()
    train(uneven(*config, f"resume={run_dir}"), run_dir, [])
    assert ("is damaged" in caplog.text) == (damage == "torn")
    assert_same_run(whole, run_dir)
