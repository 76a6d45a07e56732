"""Runs that are killed at chosen moments, and what must be the same afterwards."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import traceback

import cloudpickle
import torch

from air.errors import AIRError
from air.runs.best import BestModel
from air.runs.checkpoint import best_checkpoint, numbered_checkpoints, read_checkpoint
from air.runs.result import read_result
from air.tracking.jsonl import read_metrics
from air.training.run import train

_CHANGES = ("os.rename", "os.link", "os.remove", "os.mkdir", "os.truncate")


# A process that has imported all this and done nothing else. Forking the tests' own process would
# not do: PyTorch refuses to differentiate in a fork of one that has recorded a step, or has a GPU.
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["tests.conftest", "tests.helpers.killing"])


class Forked:
    """A function in a process of its own, without the seconds that starting Python takes.

    Args:
        work: what it does; an exception is its output, in one line, and exit status 1.
        *shared: arguments that processes share, from `barrier`.
    """

    def __init__(self, work, *shared):
        reading, writing = _SERVER.Pipe(duplex=False)
        see = BestModel.see  # the fixture `scored` may have changed it
        self._process = _SERVER.Process(
            target=_work_and_exit, args=(cloudpickle.dumps((work, see)), writing, shared)
        )
        self._process.start()
        writing.close()
        self._reading = reading

    def wait(self):
        """Return the exit status, negative for a signal, and all that it printed."""
        with os.fdopen(os.dup(self._reading.fileno())) as pipe:
            output = pipe.read()
        self._reading.close()
        self._process.join()
        status = self._process.exitcode
        self._process.close()
        return status, output


def barrier(num):
    """Return a barrier for so many processes of `Forked`."""
    return _SERVER.Barrier(num)


def _work_and_exit(pickled, writing, shared):
    os.dup2(writing.fileno(), 1)
    os.dup2(writing.fileno(), 2)
    writing.close()
    output = os.fdopen(1, "w", closefd=False)
    sys.stdout = sys.stderr = output
    status = 0
    try:
        work, BestModel.see = cloudpickle.loads(pickled)
        work(*shared)
    except SystemExit as stop:
        status = stop.code
    except AIRError as error:
        status = 1
        print(f"error: {error}")
    except BaseException:
        status = 2
        traceback.print_exc()
    output.flush()
    os._exit(status)


def train_killed(config, run_dir, at=None):
    """Train in a process that is killed with -9 before its at-th change to the run's folder.

    Args:
        config: the run.
        run_dir: its folder.
        at: which change, from 0: a file opened for writing, renamed, linked or removed, or a folder
            made. None kills it at none.

    Returns:
        What each change was made to, as far as it got; None if it was killed.
    """

    def work():
        count = 0

        def look(event, arguments):
            nonlocal count
            if changed := _changed(event, arguments, str(run_dir)):
                if count == at:
                    os.kill(os.getpid(), signal.SIGKILL)
                count += 1
                print(f"changed: {changed}")

        sys.addaudithook(look)
        train(config, run_dir, [])

    status, output = Forked(work).wait()
    if status == -signal.SIGKILL:
        return None
    assert status == 0, output
    lines = [line for line in output.splitlines() if line.startswith("changed: ")]
    return [line.removeprefix("changed: ") for line in lines]


def _changed(event, arguments, folder):
    if event == "open":
        path, mode, flags = arguments
        writes = set(mode) & set("wax+") if mode else flags & (os.O_WRONLY | os.O_RDWR)
        return str(path) if writes and str(path).startswith(folder) else None
    paths = [str(each) for each in arguments if str(each).startswith(folder)]
    return paths[-1] if event in _CHANGES and paths else None


def tear_last_checkpoint(run_dir):
    """Cut the last checkpoint in half, if there is one before it; say whether."""
    files = numbered_checkpoints(run_dir)
    if len(files) < 2:
        return False
    files[-1].write_bytes(files[-1].read_bytes()[: files[-1].stat().st_size // 2])
    return True


def assert_same_run(one, other):
    """Compare all that two finished runs left, but for times and what they logged about stops."""
    assert read_result(one).status == "finished"
    assert (one / "result.json").read_bytes() == (other / "result.json").read_bytes()
    assert metrics_of(one) == metrics_of(other)
    for path in (numbered_checkpoints(one)[-1], best_checkpoint(one)):
        _assert_same_checkpoint(path, other / path.relative_to(one))
    # The last numbered one, which is written before the last look, may have been written again.
    a, b = (read_checkpoint(best_checkpoint(folder)) for folder in (one, other))
    assert (a.best, a.collapse) == (b.best, b.collapse)
    pictures = [sorted((folder / "pictures").glob("*")) for folder in (one, other)]
    assert [path.name for path in pictures[0]] == [path.name for path in pictures[1]]
    for a, b in zip(*pictures, strict=True):
        assert a.read_bytes() == b.read_bytes(), a.name
    for folder in (one, other):
        assert not list(folder.rglob("*.partial"))
        assert len(numbered_checkpoints(folder)) <= 2


def metrics_of(run_dir):
    """All that a run logged, but for times."""
    return [
        {name: value for name, value in line.items() if "time" not in name}
        for line in read_metrics(run_dir / "metrics.jsonl")
    ]


def _assert_same_checkpoint(path, other_path):
    a, b = read_checkpoint(path), read_checkpoint(other_path)
    assert (a.iteration, a.num_summed) == (b.iteration, b.num_summed)
    for x, y in (
        (a.model, b.model),
        (a.sums, b.sums),
        (a.random_states, b.random_states),
        (a.moving_averages, b.moving_averages),
    ):
        assert x.keys() == y.keys()
        assert all(torch.equal(x[name], y[name]) for name in x), path
    assert str(a.optimizer["param_groups"]) == str(b.optimizer["param_groups"])
    for key, state in a.optimizer["state"].items():
        for name, value in state.items():
            assert torch.equal(value, b.optimizer["state"][key][name])
