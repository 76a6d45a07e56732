"""`scripts/compare.py` on folders: sweeps with holes, sweeps that still run, wrong folders."""

import csv
import os
import shlex
import subprocess
import sys

import pytest
import yaml

from air.comparison.reading import read_runs
from air.comparison.report import compare_runs, output_folder
from air.comparison.unfinished import command, unfinished
from air.config import parse_as
from air.config.compare import CompareConfig
from air.config.compose import CONF, compose_values
from air.config.sweep import sweep_jobs
from air.errors import ConfigError
from air.run_folder import held
from tests.conftest import REPOSITORY
from tests.sweep_folders import accuracies, fail_early, fill_sweep, make_run, make_sweep

SWEEP = ["experiment=smoke", "optim.lr=1e-3,3e-3", "seed=0,1"]


def asked(runs, **changes):
    values = yaml.safe_load((CONF / "compare.yaml").read_text())
    known = {key: value for key, value in values.items() if key not in ("defaults", "hydra")}
    return parse_as(CompareConfig, {**known, "formats": ["png"], "runs": runs, **changes})


def by_rate_and_seed(values):
    return accuracies(0.1, values["optim"]["lr"] * 100 + values["seed"] / 10)


def compare_command(*overrides, cwd=None):
    return subprocess.run(
        [sys.executable, str(REPOSITORY / "scripts" / "compare.py"), *overrides],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        cwd=cwd,
    )


# --- what a sweep should have ---------------------------------------------------------------------


def test_jobs_are_those_of_hydras_own_sweeper(tmp_path):
    overrides = ["prior=glob(li*,exclude=x)", "seed=range(2)", "optim.lr=0.1, 0.2", "name='a b'"]
    sweep = make_sweep(tmp_path / "sweep", overrides, params={"model.num_steps": "2,3"})
    jobs = sweep_jobs(sweep)
    assert len(jobs) == 8
    assert jobs[5] == ["model.num_steps=3", "prior=linear", "seed=0", "optim.lr=0.2", "name='a b'"]


def test_what_is_missing_is_named_with_its_number(tmp_path):
    sweep = make_sweep(tmp_path / "sweep", SWEEP)
    fill_sweep(sweep, by_rate_and_seed, leave_out=[2])
    runs, notes = read_runs([sweep])
    assert not notes
    assert [(run.folder.name, run.status) for run in runs] == [
        ("0", "finished"),
        ("1", "finished"),
        ("2", "missing"),
        ("3", "finished"),
    ]
    assert runs[2].values["optim"]["lr"] == 3e-3
    assert runs[2].seed == 0


def test_a_shuffled_sweep_is_told_by_what_its_jobs_are(tmp_path):
    sweep = make_sweep(tmp_path / "sweep", ["experiment=smoke", "seed=shuffle(range(4))"])
    for number, seed in enumerate([3, 0, 2]):
        make_run(sweep / str(number), ["experiment=smoke", f"seed={seed}"], accuracies(0.5))
    runs, _ = read_runs([sweep])
    assert [(run.folder.name, run.seed, run.status) for run in runs][2:] == [
        ("2", 2, "finished"),
        ("3", 1, "missing"),
    ]


def test_of_a_sweeper_that_chooses_as_it_goes_no_job_is_missing(tmp_path):
    optuna = "hydra_plugins.hydra_optuna_sweeper.optuna_sweeper.OptunaSweeper"
    sweep = make_sweep(tmp_path / "sweep", ["optim.lr=interval(0.1,1)"], optuna)
    make_run(sweep / "0", ["experiment=smoke", "optim.lr=0.5"], accuracies(0.5))
    runs, notes = read_runs([sweep])
    assert len(runs) == 1
    assert "its sweeper chooses the jobs as it goes" in notes[0]


def test_any_mix_of_folders_counts_each_run_once(tmp_path):
    sweep = make_sweep(tmp_path / "all" / "sweep", SWEEP)
    fill_sweep(sweep, by_rate_and_seed, leave_out=[3])
    single = make_run(tmp_path / "all" / "day" / "run", ["experiment=smoke"], accuracies(0.5))
    runs, _ = read_runs([tmp_path / "all", single, sweep / "0"])
    assert [run.status for run in runs] == ["finished"] * 3 + ["missing", "finished"]
    runs, _ = read_runs([sweep / "0", single])  # nothing is missing of what was not asked for
    assert [run.folder for run in runs] == [sweep / "0", single]


# --- while it runs, and when it does not end well -------------------------------------------------


def test_running_killed_stopped_and_failed_runs_are_told_apart(tmp_path):
    sweep = make_sweep(tmp_path / "sweep", ["experiment=smoke", "seed=range(5)"])
    jobs = sweep_jobs(sweep)
    for number, (status, error) in enumerate(
        [(None, None), (None, None), ("stopped", None), ("failed", "iteration 7: not finite")]
    ):
        make_run(sweep / str(number), jobs[number], accuracies(0.1), status, error)
    fail_early(sweep / "4", jobs[4], "data.path: no such file")
    (sweep / "1" / ".lock").touch()
    with (sweep / "0" / "metrics.jsonl").open("a") as file:
        file.write('{"iteration": 20, "val/cou')  # a line that is being written
    with held(sweep / "0"):
        runs, _ = read_runs([sweep])
    statuses = ["running", "killed", "stopped", "failed", "failed"]
    assert [run.status for run in runs] == statuses
    assert [run.iteration for run in runs] == [10, 10, 10, 10, 0]
    assert [run.problem for run in runs[3:]] == [
        "iteration 7: not finite",
        "data.path: no such file",
    ]
    assert runs[4].seed == 4  # composed from its overrides
    assert [run.folder.name for run in unfinished(runs)] == ["1", "2", "3", "4"]


def test_a_sweep_that_has_just_begun_is_compared_too(tmp_path, capsys):
    sweep = make_sweep(tmp_path / "sweep", SWEEP)
    make_run(sweep / "0", sweep_jobs(sweep)[0], [{"iteration": 5, "train/elbo": 1.0}], None)
    with held(sweep / "0"):
        compare_runs(asked([str(sweep)]))
    text = capsys.readouterr().out
    assert text.startswith("4 runs in 2 settings: 1 running, 3 missing.")
    assert "others still run, so look first" in text
    assert "curves: not drawn" in text
    assert not (sweep / "comparison" / "curves.png").exists()


def test_damaged_files_are_a_problem_of_their_run_alone(tmp_path, capsys):
    sweep = make_sweep(tmp_path / "sweep", SWEEP)
    fill_sweep(sweep, by_rate_and_seed)
    (sweep / "0" / "metrics.jsonl").write_text("{\n")
    (sweep / "1" / "config.yaml").write_text("a: [")
    (sweep / "2" / "result.json").write_text("{")
    (sweep / "3" / "overrides.yaml").write_text("a: [")
    compare_runs(asked([str(sweep)]))
    text = capsys.readouterr().out
    for name in ("metrics.jsonl", "config.yaml", "result.json", "overrides.yaml"):
        assert name in text
    with (sweep / "comparison" / "runs.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 4


# --- the commands ---------------------------------------------------------------------------------


def test_the_commands_are_those_of_the_jobs(tmp_path):
    """Missing jobs, one with a value and a folder that the shell and Hydra must have quoted."""
    overrides = ["optim.lr=1e-3,3e-3", "tracking.notes='it, (a) \\'b\\'','plain'", "seed=0,1"]
    sweep = make_sweep(tmp_path / "of mine, [1]", overrides)
    fill_sweep(sweep, by_rate_and_seed, leave_out=[1, 6])
    jobs = sweep_jobs(sweep)
    runs, _ = read_runs([sweep])
    absent = unfinished(runs)
    assert [run.folder.name for run in absent] == ["1", "6"]
    for run, job in zip(absent, (jobs[1], jobs[6]), strict=True):
        program, script, *words = shlex.split(command(run))
        assert (program, script) == ("python", "scripts/train.py")
        own = [word for word in words if not word.startswith("hydra.")]
        # Its tracking is that of a job: the sweep's name as its group, its number in its name.
        expected = compose_values(job)
        assert expected["tracking"]["group"] is None
        expected["tracking"]["group"] = "of mine, [1]"
        expected["tracking"]["run_name"] = f"quickstart-{run.folder.name}"
        assert compose_values(own) == expected
    shown = subprocess.run(
        [sys.executable, str(REPOSITORY / script), *words, "--cfg", "hydra", "-p", "hydra.run"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert yaml.safe_load(shown.stdout.partition("\n")[2]) == {"dir": str(absent[-1].folder)}


def test_half_trained_runs_are_resumed_and_failed_ones_come_last(tmp_path):
    sweep = make_sweep(tmp_path / "sweep", SWEEP)
    jobs = sweep_jobs(sweep)
    make_run(sweep / "0", jobs[0], accuracies(0.5), "failed", "it was bad")
    make_run(sweep / "1", jobs[1], accuracies(0.5), None)
    fail_early(sweep / "2", jobs[2], "no such file")
    make_run(sweep / "3", jobs[3], accuracies(0.5))
    compare_runs(asked([str(sweep)]))
    script = (sweep / "comparison" / "unfinished.sh").read_text().splitlines()
    assert script[2:] == [
        f"# {sweep}/1: killed",
        f"python scripts/train.py resume={sweep}/1",
        f"# {sweep}/0: failed: it was bad",
        f"python scripts/train.py resume={sweep}/0",
        f"# {sweep}/2: failed: no such file",
        f"python scripts/train.py experiment=smoke optim.lr=0.003 seed=0 hydra.run.dir={sweep}/2",
    ]


@pytest.mark.slow
def test_running_the_commands_makes_a_real_sweep_whole(train_command, tmp_path):
    """A job is killed, another never begun; the script of the comparison runs just these two."""
    sweep = tmp_path / "sweep"
    train_command("-m", *train_command.smoke, "seed=0,1,2", f"hydra.sweep.dir={sweep}")
    whole = (sweep / "0" / "metrics.jsonl").stat().st_mtime_ns
    (sweep / "1" / "result.json").unlink()
    subprocess.run(["rm", "-r", str(sweep / "2")], check=True)
    result = compare_command(f"runs={sweep}")
    assert "3 runs in 1 setting: 1 finished, 1 killed, 1 missing." in result.stdout
    folder = os.path.dirname(sys.executable)
    subprocess.run(
        ["sh", str(sweep / "comparison" / "unfinished.sh")],
        cwd=REPOSITORY,
        env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"},
        check=True,
    )
    result = compare_command(f"runs={sweep}")
    assert "3 runs in 1 setting: 3 finished." in result.stdout
    assert not (sweep / "comparison" / "unfinished.sh").exists()
    assert (sweep / "0" / "metrics.jsonl").stat().st_mtime_ns == whole


# --- the command ----------------------------------------------------------------------------------


def test_the_command_prints_and_writes_it_all(tmp_path):
    sweep = make_sweep(tmp_path / "sweep", SWEEP)
    fill_sweep(sweep, by_rate_and_seed, leave_out=[3])
    before = {path: path.read_bytes() for path in sweep.rglob("*") if path.is_file()}
    result = compare_command("runs=sweep", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == "4 runs in 2 settings: 3 finished, 1 missing."
    assert lines[2].startswith("By val/count_accuracy, more is better")
    assert lines[6].split() == [
        "0.003",
        "1",
        "of",
        "2",
        "0.3000",
        "–",
        "0.3000",
        "–",
        "0.3000,",
        "missing",
    ]
    assert lines[7].split()[:8] == ["0.001", "2", "of", "2", "0.1500", "±", "0.0707", "–"]
    job = "experiment=smoke optim.lr=0.003 seed=1 hydra.run.dir=sweep/3"
    assert f"python scripts/train.py {job}" in lines
    folder = sweep / "comparison"
    names = {"comparison.md", "settings.csv", "runs.csv", "unfinished.sh"}
    names |= {f"{name}.{end}" for name in ("curves", "effects") for end in ("png", "pdf")}
    assert {path.name for path in folder.iterdir()} == names
    assert all(path.read_bytes() == content for path, content in before.items())
    assert {path.name for path in tmp_path.iterdir()} == {"sweep"}  # nothing of Hydra's own
    with (folder / "runs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == ["finished"] * 3 + ["missing"]
    assert [row["val/count_accuracy"] for row in rows] == ["0.1", "0.2", "0.3", ""]
    text = (folder / "comparison.md").read_text()
    assert "| 0.003      | 1 of 2" in text
    assert "![curves](curves.png)" in text


def test_where_the_files_go(tmp_path):
    first, second = (tmp_path / "day" / name for name in ("a", "b"))
    first.mkdir(parents=True)
    assert output_folder(asked(str(first))) == first / "comparison"
    assert output_folder(asked([str(first), str(second)])) == tmp_path / "day" / "comparison"
    assert output_folder(asked([str(first)], output="x")).name == "x"
    (first / "comparison").touch()
    with pytest.raises(ConfigError, match="output: must be a folder, got the file"):
        compare_runs(asked(str(first)))


def test_a_second_comparison_leaves_nothing_of_the_first(tmp_path):
    sweep = make_sweep(tmp_path / "sweep", SWEEP)
    fill_sweep(sweep, by_rate_and_seed, leave_out=[3])
    compare_runs(asked(str(sweep), formats=["png", "pdf"]))
    make_run(sweep / "3", sweep_jobs(sweep)[3], by_rate_and_seed)
    compare_runs(asked(str(sweep), pictures=["curves"]))
    names = {path.name for path in (sweep / "comparison").iterdir()}
    assert names == {"comparison.md", "settings.csv", "runs.csv", "curves.png"}


def test_bad_input_is_one_line(tmp_path):
    result = compare_command("runs=nowhere", "formats=[png]", cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr == "error: runs: must be folders of runs or of sweeps, got nowhere\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"runs": []}, "runs: "),
        ({"runs": ["{sweep}", "{empty}"]}, "empty holds neither a run nor a sweep"),
        ({"runs": ["{sweep}/multirun.yaml"]}, "runs: must be folders of runs or of sweeps"),
        ({"runs": 3}, "runs: must be a valid list|runs: must be a list"),
        ({"metric": "val/elbow"}, "metric: must be a metric of the runs, got val/elbow; did"),
        ({"others": ["time"]}, "others: must be a metric of the runs, got time"),
        ({"goal": "most"}, "goal: must be 'max' or 'min'"),
        ({"pictures": ["curve"]}, "pictures.0: must be 'curves' or 'effects'"),
        ({"colour": "red"}, "colour: no such key"),
    ],
)
def test_bad_settings_are_named_and_write_nothing(tmp_path, changes, message):
    sweep = make_sweep(tmp_path / "sweep", ["experiment=smoke", "seed=0"])
    lines = [{"iteration": 1, "val/elbo": 1.0}]
    make_run(sweep / "0", sweep_jobs(sweep)[0], lines)
    (tmp_path / "empty").mkdir()
    runs = changes.pop("runs", [str(sweep)])
    if isinstance(runs, list):
        runs = [path.format(sweep=sweep, empty=tmp_path / "empty") for path in runs]
    with pytest.raises(ConfigError, match=message):
        compare_runs(asked(runs, **changes))
    assert not list(tmp_path.rglob("comparison"))
