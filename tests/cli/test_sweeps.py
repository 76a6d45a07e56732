"""Sweeps: jobs that fail alone, restarts that run what is unfinished, W&B's own sweeps."""

import logging
import re
import runpy
import shlex
import shutil
import signal
import sys

import pytest
import torch
import yaml
from hydra.core.global_hydra import GlobalHydra

from air.cli.compose import compose_config
from air.runs.checkpoint import read_latest
from air.runs.lock import held
from air.runs.result import RunResult, read_result, write_result
from air.tracking.jsonl import read_metrics
from air.training.signals import TRY_AGAIN
from tests.helpers.repository import REPOSITORY

SCRIPT = REPOSITORY / "scripts" / "train.py"
REFUSED = "model.use_masking: must be true with inference=marginal"


@pytest.fixture
def sweep(tmp_path, data_root, monkeypatch, capfd):
    """Run `scripts/train.py -m` in this process; returns exit status, output and errors."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")  # as the command does, but not for later tests
    smoke = ("experiment=smoke", f"data.root={data_root}", "train.step=eager")

    def run(*overrides, folder="sweep", first=smoke):
        where = [] if folder is None else [f"hydra.sweep.dir={folder}"]
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), "-m", *first, *overrides, *where])
        try:
            runpy.run_path(str(SCRIPT), run_name="__main__")
            status = 0
        except SystemExit as ended:
            status = ended.code
        finally:
            GlobalHydra.instance().clear()
            root.handlers[:] = handlers
            root.setLevel(level)
        out, err = capfd.readouterr()
        if isinstance(status, str):  # Python prints it, and exits with 1
            status, err = 1, f"{err}{status}\n"
        return status, out, err

    return run


@pytest.fixture
def trained(monkeypatch):
    """Take the place of training; returns the (config, folder, overrides) of each job."""
    jobs = []

    def train(config, run_dir, overrides):
        jobs.append((config, run_dir, overrides))
        if config.seed == 666:
            raise ZeroDivisionError("of two\nlines")
        if config.seed == 15:
            raise SystemExit(TRY_AGAIN)  # as after SIGTERM
        return 0.5

    monkeypatch.setattr("air.training.run.train", train)
    return jobs


def files_of(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def test_a_failing_job_is_recorded_and_the_others_go_on(sweep, tmp_path):
    short = ("train.num_iterations=4", "train.save_every=2", "train.num_pictures=0")
    status, out, err = sweep(*short, "model.use_masking=false,true", "seed=0,1")
    assert status == 1
    assert "Traceback" not in out + err
    folder = tmp_path / "sweep"
    for job in (0, 1):
        assert f"failed: job {job} (experiment=smoke" in out
        assert f"model.use_masking=False seed={job}): {REFUSED}" in err
        result = read_result(folder / str(job))
        assert (result.status, result.iteration, result.metric) == ("failed", 0, None)
        assert result.error.startswith(REFUSED)
        overrides = yaml.safe_load((folder / str(job) / "overrides.yaml").read_text())
        assert overrides[-2:] == ["model.use_masking=False", f"seed={job}"]
        assert not (folder / str(job) / "config.yaml").exists()
    for job in (2, 3):
        assert read_result(folder / str(job)).status == "finished"
    seeds = [read_latest(folder / job)[1].config["seed"] for job in "23"]
    assert seeds == [0, 1]
    lines = err.splitlines()
    assert lines[0] == "error: 2 jobs of the sweep failed:"
    assert lines[-1].startswith(f"run what is unfinished again with: python {SCRIPT} -m experim")
    assert lines[-1].endswith(" hydra.sweep.dir=sweep")
    asked = yaml.safe_load((folder / "multirun.yaml").read_text())["hydra"]["overrides"]
    assert asked["task"][-2:] == ["model.use_masking=false,true", "seed=0,1"]

    # Job 2 as if it had been killed between its last two checkpoints, job 3 before it began.
    whole = read_latest(folder / "2")[1]
    (folder / "2" / "result.json").unlink()
    for name in ("00000004.pt", "best.pt"):
        (folder / "2" / "checkpoints" / name).unlink()
    shutil.rmtree(folder / "3")
    status, out, err = sweep(*short, "model.use_masking=false,true", "seed=0,1")
    assert status == 1
    assert out.count("resumed at iteration 2") == 1
    again = read_latest(folder / "2")[1]
    assert all(torch.equal(value, again.model[name]) for name, value in whole.model.items())
    recorded = yaml.safe_load((folder / "2" / "overrides.yaml").read_text())
    assert len(recorded) == len(set(recorded))
    assert read_result(folder / "3").status == "finished"

    before = files_of(folder / "2")
    status, out, _ = sweep(*short, "model.use_masking=false,true", "seed=0,1")
    assert status == 1
    assert "run folder: " not in out
    assert all(f"job {job} has finished before: " in out for job in (2, 3))
    assert files_of(folder / "2") == before


def test_a_fault_of_the_program_is_reported_with_its_traceback(sweep, trained, tmp_path):
    status, out, err = sweep("seed=666,1")
    assert status == 1
    assert "ZeroDivisionError: of two lines\nTraceback (most recent call last):" in out
    assert "seed=666): ZeroDivisionError: of two lines (traceback: sweep/.failed/0)" in err
    assert [config.seed for config, _, _ in trained] == [666, 1]
    result = read_result(tmp_path / "sweep" / "0")
    assert (result.status, result.error) == ("failed", "ZeroDivisionError: of two lines")

    # It starts again in the same folder, as if it had not been there.
    status, _, _ = sweep("seed=666,1")
    assert status == 1
    assert [config.seed for config, _, _ in trained] == [666, 1, 666, 1]
    assert len({tuple(overrides) for _, _, overrides in trained}) == 2


def test_a_sweep_without_failures_ends_with_0(sweep, trained, tmp_path):
    status, out, err = sweep("seed=1,2")
    assert (status, err) == (0, "")
    assert f"if it stops, resume it with: python {SCRIPT} -m experiment=smoke" in out
    assert not (tmp_path / "sweep" / ".failed").exists()


def test_jobs_of_other_names_share_the_sweeps_folder(sweep, trained, tmp_path):
    status, _, _ = sweep("name=one,other", folder=None)
    assert status == 0
    assert {str(run_dir.parent) for _, run_dir, _ in trained} == {
        str(path) for path in tmp_path.glob("outputs/sweeps/*/*")
    }
    assert [run_dir.name for _, run_dir, _ in trained] == ["0", "1"]


def test_a_folder_name_that_hydra_would_not_read_plainly(sweep, trained, tmp_path):
    status, _, _ = sweep("seed=1", folder="'a, (new) sweep'")
    assert status == 0
    assert trained[0][1] == tmp_path / "a, (new) sweep" / "0"


def test_two_files_of_odd_names_are_two_jobs_in_the_folder_of_the_start(sweep, trained, tmp_path):
    asked = ("data=npz", "data.path=a=1.npz,b [2].npz", "hydra.job.chdir=true")
    status, out, _ = sweep(*asked, folder="my sweep=1", first=())
    assert status == 0
    expected = [str(tmp_path / name) for name in ("a=1.npz", "b [2].npz")]
    assert [config.data.path for config, _, _ in trained] == expected
    assert [run_dir for _, run_dir, _ in trained] == [tmp_path / "my sweep=1" / job for job in "01"]
    # The printed command resumes it.
    (words,) = re.findall("if it stops, resume it with: python .*?train.py (.*)", out)
    assert shlex.split(words)[-1] == "hydra.sweep.dir='my sweep=1'"
    assert sweep(*shlex.split(words)[1:], folder=None, first=())[0] == 0
    assert [config.data.path for config, _, _ in trained] == 2 * expected


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (["--experiment", "smoke"], "--experiment: is not an option of this command"),
        (["smoke"], "smoke: is not KEY=VALUE; write experiment=smoke"),
        (
            ['+hydra.sweeper.params.seed="1,2)"'],
            "hydra.sweeper.params: seed=1,2): cannot be read; as a text it is written seed=1,'2)'",
        ),
    ],
)
def test_what_cannot_be_read_is_one_line_before_any_job(sweep, trained, tmp_path, given, line):
    status, _, err = sweep(*given)
    assert status == 1
    assert err.startswith(f"error: {line}")
    assert len(err.splitlines()) == 1
    assert not trained
    assert not (tmp_path / "sweep").exists()


def test_a_value_that_only_one_job_cannot_have_fails_alone(sweep, trained):
    status, _, err = sweep("seed=1,2)")
    assert status == 1
    assert "seed: must be a valid integer, got '2)'" in err
    assert [config.seed for config, _, _ in trained] == [1]


def test_a_stopped_job_stops_the_sweep(sweep, trained, tmp_path, monkeypatch, capfd):
    at_exit = []
    monkeypatch.setattr("atexit.register", lambda *call: at_exit.append(call))
    numbers = (signal.SIGTERM, signal.SIGUSR1)
    handlers = [signal.getsignal(number) for number in numbers]
    status, _, _ = sweep("seed=1,15,2")
    for number, handler in zip(numbers, handlers, strict=True):
        with pytest.raises(SystemExit, match=f"^{TRY_AGAIN}$"):  # between jobs, too
            signal.getsignal(number)(number, None)
        signal.signal(number, handler)  # a process that ends has no need to
    ((say, *arguments),) = at_exit
    say(*arguments)
    err = capfd.readouterr().err
    assert err.startswith(
        f"the sweep stopped; resume it with: python {SCRIPT} -m experiment=smoke "
    )
    assert err.endswith(" seed=1,15,2 hydra.sweep.dir=sweep\n")
    assert status == TRY_AGAIN
    assert [config.seed for config, _, _ in trained] == [1, 15]
    assert not (tmp_path / "sweep" / "1" / "result.json").exists()


def test_another_sweeps_folder_is_left_as_it_is(sweep, trained, tmp_path):
    assert sweep("seed=666,2")[0] == 1
    before = files_of(tmp_path / "sweep")
    for asked in (["seed=666,3"], ["prior=constant", "seed=666,2"]):
        status, _, err = sweep(*asked)
        assert status == 1
        assert err.startswith("error: hydra.sweep.dir: sweep holds another sweep, 'experiment=")
        assert len(err.splitlines()) == 1
        assert files_of(tmp_path / "sweep") == before


def test_another_jobs_folder_is_left_as_it_is(sweep, trained, tmp_path):
    folder = tmp_path / "sweep" / "0"
    folder.mkdir(parents=True)
    (folder / "overrides.yaml").write_text("- seed=7\n")
    write_result(folder, RunResult("finished", 20, 0.9, {}, None, None))
    before = files_of(folder)
    status, _, err = sweep("seed=1,2")
    assert status == 1
    assert "sweep/0: holds a job with other overrides, 'seed=7' instead of 'experiment=sm" in err
    assert [config.seed for config, _, _ in trained] == [2]
    assert files_of(folder) == before


def test_a_job_that_was_resumed_by_hand_is_still_the_sweeps(sweep, trained, tmp_path):
    sweep("seed=666")
    folder = tmp_path / "sweep" / "0"
    with (folder / "overrides.yaml").open("a") as file:
        file.write("- resume=sweep/0\n- train.num_iterations=30\n")
    write_result(folder, RunResult("finished", 30, 0.9, {}, None, None))
    assert sweep("seed=666")[0] == 0
    assert len(trained) == 1


def test_a_sweep_that_is_running_is_not_started_twice(sweep, trained, tmp_path):
    (tmp_path / "sweep").mkdir()
    with held(tmp_path / "sweep"):
        status, _, err = sweep("seed=1,2")
    assert (status, err) == (1, "error: sweep: another process is running in this folder\n")
    assert not trained
    assert not (tmp_path / "sweep" / "multirun.yaml").exists()


def test_a_job_that_another_process_runs_is_left_to_it(sweep, data_root, tmp_path):
    (tmp_path / "sweep" / "0").mkdir(parents=True)
    with held(tmp_path / "sweep" / "0"):
        status, _, err = sweep("seed=1")
        assert status == 1
        assert "sweep/0: another process is running in this folder" in err
        assert files_of(tmp_path / "sweep" / "0") == {}


def test_a_sweep_does_not_resume_other_runs(sweep, trained):
    status, _, err = sweep("resume=one,other")
    assert status == 1
    assert err.count("resume: cannot be given to a sweep") == 2
    assert not trained


def test_a_wrong_key_or_option_ends_it_before_any_job(sweep, trained):
    # A folder each: the process ends where a sweep does, and only then lets go of its folder.
    for folder, wrong, message in (
        ("key", "model.nm_steps=1,2", "model.nm_steps: no such key; did you mean model.num_steps?"),
        ("option", "prior=constant,lineer", "prior: must be one of constant, "),
    ):
        status, _, err = sweep(wrong, folder=folder)
        assert status == 1
        assert message in err
        assert len(err.splitlines()) == 1
    assert not trained
    assert sweep("prior=constant,linear")[0] == 0  # the folder is still to be had


# --- W&B's own sweeps -----------------------------------------------------------------------------

WANDB_SWEEPS = sorted((REPOSITORY / "conf" / "wandb_sweep").glob("*.yaml"))


def first_values(parameters):
    return {
        name: {"value": each["values"][0] if "values" in each else each["min"]}
        for name, each in parameters.items()
    }


def started_by_wandb(sweep, values):
    """Return the command that an agent of W&B starts for a run of a sweep."""
    from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

    replaced = {"interpreter": ["python"], "program": [sweep["program"]], "env": ["/usr/bin/env"]}
    replaced |= create_sweep_command_args({"args": values})
    words = create_sweep_command(sweep["command"])
    return [part for word in words for part in replaced.get(word.strip("${}"), [word])]


@pytest.mark.parametrize("path", WANDB_SWEEPS, ids=lambda path: path.stem)
def test_wandb_starts_runs_that_log_the_metric(path, smoke_run):
    sweep = yaml.safe_load(path.read_text())
    values = first_values(sweep["parameters"])
    env, interpreter, program, *overrides = started_by_wandb(sweep, values)
    assert (env, interpreter, program) == ("/usr/bin/env", "python", "scripts/train.py")
    assert (REPOSITORY / program).is_file()
    config = compose_config(overrides)
    for name, value in values.items():
        if name != "prior":
            found = config
            for part in name.split("."):
                found = getattr(found, part)
            assert getattr(found, "kind", found) == value["value"]
    assert config.tracking.kind == "wandb"
    logged = {name for line in read_metrics(smoke_run / "metrics.jsonl") for name in line}
    assert sweep["metric"] == {"name": sweep["metric"]["name"], "goal": "maximize"}
    assert sweep["metric"]["name"] in logged


def test_every_value_of_a_wandb_sweep_is_allowed():
    for path in WANDB_SWEEPS:
        parameters = yaml.safe_load(path.read_text())["parameters"]
        lists = [
            each.get("values", [each.get("min"), each.get("max")]) for each in parameters.values()
        ]
        for number in range(max(map(len, lists))):
            values = [values[min(number, len(values) - 1)] for values in lists]
            compose_config(
                [f"{name}={value}" for name, value in zip(parameters, values, strict=True)]
            )
