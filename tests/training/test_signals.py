"""A run that a signal stops: saved, with a status for schedulers, and resumed without a trace."""

import os
import signal

import pytest

from air.runs.result import RunResult, read_result, write_result
from air.tracking.trackers import build_tracker
from air.training.run import train
from air.training.signals import caught
from air.training.trainer import Trainer
from tests.helpers.killing import assert_same_run

STATUS = {"SIGINT": 130, "SIGTERM": 75, "SIGUSR1": 75}
SIGNALS = [name for name in STATUS if hasattr(signal, name)]  # Windows has no SIGUSR1


@pytest.mark.parametrize("name", SIGNALS)
def test_the_status_tells_a_person_from_a_scheduler(name):
    number = getattr(signal, name)
    before = signal.getsignal(number)
    with caught() as interruption:
        os.kill(os.getpid(), number)
        assert interruption.signal == number
    assert interruption.exit_code == STATUS[name]
    assert signal.getsignal(number) == before


def test_a_second_ctrl_c_stops_at_once():
    with caught():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_stopped_anywhere_it_ends_as_if_it_had_not_been(uneven, tmp_path, scored, monkeypatch):
    """In the iterations in which to look, to log, to save, to do nothing else, and in the last."""
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    train(uneven(), whole, [])
    step = Trainer.step
    for iteration in (3, 4, 5, 7, 12):

        def signalled(self, iteration=iteration):
            step(self)
            if self.iteration == iteration:
                os.kill(os.getpid(), signal.SIGTERM)

        monkeypatch.setattr(Trainer, "step", signalled)
        resume = [f"resume={stopped}"] if iteration > 3 else []
        with pytest.raises(SystemExit) as stop:
            train(uneven(*resume), stopped, [])
        assert stop.value.code == 75
        result = read_result(stopped)
        assert (result.status, result.iteration) == ("stopped", iteration)
    train(uneven(f"resume={stopped}"), stopped, [])
    assert_same_run(whole, stopped)


def test_a_signal_at_the_end_lets_the_run_finish_but_no_sweep_go_on(uneven, tmp_path, monkeypatch):
    def signalled(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        write_result(*arguments)

    monkeypatch.setattr("air.training.run.write_result", signalled)
    with pytest.raises(SystemExit) as stop:
        train(uneven(), tmp_path, [])
    assert stop.value.code == 75
    assert read_result(tmp_path).status == "finished"


def test_a_signal_before_the_first_iteration_is_not_lost(uneven, tmp_path, monkeypatch):
    def build(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        return build_tracker(*arguments)

    monkeypatch.setattr("air.training.run.build_tracker", build)
    with pytest.raises(SystemExit):
        train(uneven(), tmp_path, [])
    assert read_result(tmp_path) == RunResult("stopped", 1, None, {}, None, None)
