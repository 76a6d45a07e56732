"""Counts that collapse: told from those that follow the images, and warned about once."""

import logging

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from air.cli.compose import compose_config
from air.data.loading import load_data
from air.data.scenes import Data, Scenes
from air.runs.checkpoint import read_latest
from air.runs.result import read_result
from air.tracking.tracker import NullTracker
from air.training.collapse import NEARLY_ALL, CollapseWatch, collapsed_to
from air.training.run import train
from air.training.trainer import Trainer
from tests.helpers.killing import assert_same_run
from tests.helpers.wandb_reader import offline_runs, read_offline_run


def times(**numbers):
    """Return counts: `times(n0=3, n2=1)` is 0, 0, 0, 2."""
    return torch.tensor([int(name[1:]) for name, times in numbers.items() for _ in range(times)])


EVEN = times(n0=40, n1=40, n2=40)  # the truth, in the order of what is inferred


@pytest.mark.parametrize(
    ("count", "true_count", "collapsed"),
    [
        # One number for all, or for nearly all.
        (times(n0=120), EVEN, 0),
        (times(n2=120), EVEN, 2),
        (times(n3=120), EVEN, 3),
        (times(n1=119, n2=1), EVEN, 1),
        (times(n1=118, n2=2), EVEN, None),  # of the images of other counts, 2 of 80 are told
        # All that are not empty are full.
        (times(n0=40, n3=80), EVEN, 3),
        (times(n0=40, n2=1, n3=79), EVEN, 3),
        (times(n0=40, n2=2, n3=78), EVEN, None),
        (times(n0=40, n2=80), EVEN, None),  # two of three: neighbours seen as one, but not all full
        # The truth is like that.
        (times(n0=120), times(n0=120), None),
        (times(n0=120), times(n2=120), None),
        (times(n3=120), times(n3=119, n1=1), None),
        (times(n0=60, n3=60), times(n0=50, n3=70), None),
        (times(n0=60, n3=60), times(n0=50, n5=70), None),  # as many as can be inferred
        (times(n3=120), times(n0=50, n3=70), 3),
        (times(n0=120), times(n0=50, n3=70), 0),
        # Few images hold anything: some are found, or none.
        (times(n0=120, n1=2), times(n0=118, n1=4), None),
        (times(n0=122), times(n0=118, n1=4), 0),
        # The truth is not known.
        (times(n1=120), None, 1),
        (times(n1=118, n2=2), None, 1),
        (times(n1=117, n2=3), None, None),
        (times(n0=40, n3=80), None, 3),
        (times(n0=40, n1=40, n3=40), None, None),
    ],
)
def test_collapsed_counts_are_told_from_others(count, true_count, collapsed):
    assert collapsed_to(count, true_count, 3) == collapsed


def test_one_step_cannot_collapse():
    assert collapsed_to(times(n1=100), times(n0=50, n1=50), 1) is None
    assert collapsed_to(times(n2=100), times(n0=50, n2=50), 2) == 2


COUNTS = st.lists(st.integers(0, 4), min_size=1, max_size=60)


@given(COUNTS, st.integers(2, 4))
def test_right_counts_have_never_collapsed(counts, num_steps):
    true = torch.tensor(counts)
    assert collapsed_to(true.clamp(max=num_steps), true, num_steps) is None


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=60))
def test_what_the_truth_allows_depends_on_no_order_and_excuses_but_never_accuses(pairs):
    count, true = torch.tensor(pairs).T
    found = collapsed_to(count, true, 4)
    assert found == collapsed_to(count.flip(0), true.flip(0), 4)
    unknown = collapsed_to(count, None, 4)
    assert found in (None, unknown)
    if unknown is not None:
        shown = count if unknown < 4 else count[count > 0]
        assert (shown == unknown).double().mean() >= NEARLY_ALL


# --- evaluations in a row -------------------------------------------------------------------------


class Alerts(NullTracker):
    def __init__(self):
        self.texts = []

    def alert(self, title, text):
        assert len(title) < 64  # W&B takes no more
        self.texts.append(text)


WATCHED = ("train.warn_collapse=true", "prior=constant")
ALL_0, ALL_1, FULL = times(n0=120), times(n1=120), times(n0=40, n3=80)


def see(watch, looks, true_count=EVEN):
    for iteration, count in looks.items():
        watch.see(iteration, count, true_count)


def test_two_evaluations_in_a_row_that_have_collapsed_are_warned_about_once(uneven, caplog):
    tracker = Alerts()
    watch = CollapseWatch(uneven(*WATCHED), tracker)
    see(watch, {10: ALL_0, 20: EVEN, 30: ALL_0, 40: EVEN, 50: FULL})
    assert not caplog.records
    assert watch.collapsed is None
    see(watch, {60: FULL})
    (warning,) = caplog.messages
    assert "the counts have collapsed" in warning
    assert "is counted 3 " in warning
    assert "from iteration 50 to 60" in warning
    assert "prior.success" in warning
    assert "\n" not in warning
    (text,) = tracker.texts
    assert text in warning
    see(watch, {70: FULL})
    assert "is counted 3 (the most it can be) " in watch.collapsed
    assert watch.collapsed.endswith("from iteration 50 to 70")
    see(watch, {80: EVEN})  # it recovers
    assert watch.collapsed is None
    see(watch, {90: ALL_0, 100: ALL_0})
    assert "is counted 0 " in watch.collapsed
    assert len(caplog.records) == len(tracker.texts) == 1


def test_the_number_to_which_counts_collapse_may_change(uneven):
    watch = CollapseWatch(uneven(*WATCHED), Alerts())
    see(watch, {10: ALL_0, 20: ALL_1, 30: ALL_1})
    said = "is counted 1 at the last, and nearly all were counted alike at every evaluation, from"
    assert said in watch.collapsed
    assert watch.collapsed.endswith("iteration 10 to 30")


def test_what_to_try_depends_on_the_number(uneven, caplog):
    for count, tried in ((ALL_0, "optim.lr"), (ALL_1, "scale_prior_mean"), (FULL, "prior.success")):
        caplog.clear()
        see(CollapseWatch(uneven(*WATCHED), Alerts()), {1: count, 2: count})
        assert tried in caplog.text
    caplog.clear()
    see(CollapseWatch(uneven(*WATCHED, "inference=reinforce"), Alerts()), {1: ALL_1, 2: ALL_1})
    assert "=marginal" in caplog.text


def test_smoke_alone_never_warns(uneven, caplog):
    watch = CollapseWatch(uneven("prior=constant"), Alerts())
    see(watch, {1: ALL_0, 2: ALL_0})
    assert not caplog.records
    assert watch.collapsed is None
    for experiment in ("quickstart", "accurate", "paper", "pyro_tutorial"):
        assert compose_config((f"experiment={experiment}",)).train.warn_collapse


def test_where_the_truth_is_not_known_the_warning_leaves_room_for_it(uneven, caplog):
    see(CollapseWatch(uneven(*WATCHED), Alerts()), {1: ALL_1, 2: ALL_1}, true_count=None)
    assert "unless that is what the images hold" in caplog.text


@pytest.mark.parametrize(
    ("prior", "first"), [("rising", 700), ("linear", 700), ("exponential", 700), ("constant", 0)]
)
def test_evaluations_count_once_the_prior_is_annealed(uneven, caplog, prior, first):
    moving = ("prior.anneal_begin=400", "prior.anneal_duration=300") if first else ()
    watch = CollapseWatch(uneven("train.warn_collapse=true", f"prior={prior}", *moving), Alerts())
    see(watch, {first - 2: ALL_0, first - 1: ALL_0, first: ALL_0} if first else {0: ALL_0})
    assert not caplog.records
    see(watch, {first + 1: ALL_0})
    assert len(caplog.records) == 1


def test_what_is_known_goes_through_a_checkpoint(uneven, caplog):
    looks = {10: EVEN, 20: ALL_0, 30: ALL_0, 40: ALL_0, 50: EVEN, 60: FULL, 70: FULL}
    whole = CollapseWatch(uneven(*WATCHED), Alerts())
    for iteration, count in looks.items():
        whole.see(iteration, count, EVEN)
        parts = CollapseWatch(uneven(*WATCHED), Alerts())
        parts.restore(whole.note())
        assert parts.note() == whole.note()
        assert parts.collapsed == whole.collapsed
    assert len(caplog.records) == 1


# --- runs -----------------------------------------------------------------------------------------


def warnings(caplog):
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno == logging.WARNING and "collapsed" in record.getMessage()
    ]


def test_a_run_whose_counts_collapse_says_so_once_everywhere(uneven, tmp_path, caplog):
    """Twelve iterations under a prior of 0.01 a step: nothing is found in any image."""
    tracked = ("tracking=wandb", "tracking.mode=offline")
    train(uneven(*WATCHED, "attention=recurrent", *tracked), tmp_path, [])
    (warning,) = warnings(caplog)
    assert "nearly every held-out image is counted 0 " in warning
    assert "from iteration 3 to 6" in warning
    collapsed = read_result(tmp_path).collapsed
    assert "is counted 0 " in collapsed
    assert collapsed.endswith("from iteration 3 to 12")
    assert warning in (tmp_path / "train.log").read_text()
    (folder,) = offline_runs(tmp_path)
    (alert,) = read_offline_run(folder).alerts
    assert alert["level"] == "WARN"
    assert alert["title"] == "The counts have collapsed"
    assert warning.endswith(alert["text"])


def test_the_evaluation_at_the_end_counts_and_so_do_images_of_unknown_counts(
    uneven, tmp_path, caplog, monkeypatch
):
    def load(config):
        data = load_data(config)
        return Data(data.train, Scenes(data.test.images, None, None, None))

    monkeypatch.setattr("air.training.run.load_data", load)
    train(uneven(*WATCHED, "attention=recurrent", "train.eval_every=7"), tmp_path, [])
    said = "from iteration 7 to 12, unless that is what the images hold"
    assert said in warnings(caplog)[0]
    assert read_result(tmp_path).collapsed.endswith(said)


@pytest.fixture
def counted(monkeypatch):
    """Say what is inferred at each evaluation: collapsed at 6 and 9, and no longer at the end."""
    see = CollapseWatch.see
    given = {3: EVEN, 6: FULL, 9: FULL, 12: EVEN}

    def seen(self, iteration, count, true_count):
        see(self, iteration, given[iteration][: 3 * len(count) : 3], true_count)

    monkeypatch.setattr(CollapseWatch, "see", seen)


def killed(uneven, run_dir, iteration):
    """Train until just before an iteration, and resume."""
    step = Trainer.step
    with pytest.MonkeyPatch.context() as patch:

        def stop(self):
            if self.iteration == iteration:
                raise KeyboardInterrupt
            step(self)

        patch.setattr(Trainer, "step", stop)
        with pytest.raises(KeyboardInterrupt):
            train(uneven(*WATCHED), run_dir, [])
    train(uneven(*WATCHED, f"resume={run_dir}"), run_dir, [])


def test_a_resumed_run_warns_and_ends_as_if_nothing_had_happened(
    uneven, tmp_path, caplog, counted, scored
):
    """Checkpoints are of iterations 5 and 10, and of the best ones: 3, 6 and 12."""
    whole = tmp_path / "whole"
    train(uneven(*WATCHED), whole, [])
    (warning,) = warnings(caplog)
    assert "from iteration 6 to 9" in warning
    assert read_result(whole).collapsed is None  # it recovered
    assert read_latest(whole)[1].collapse["warned"]
    # Between the warning and the next checkpoint, and after that.
    for iteration, times_said in ((9, 2), (10, 1)):
        caplog.clear()
        run_dir = tmp_path / f"killed-{iteration}"
        killed(uneven, run_dir, iteration)
        assert warnings(caplog) == [warning] * times_said, iteration
        assert_same_run(whole, run_dir)
