"""`scripts/compare.py` on folders: sweeps with holes, sweeps that still run, wrong folders."""

import csv
import shlex
import shutil
import subprocess
import sys

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper

from air.cli.compose import hydra_on_conf
from air.cli.jobs import sweep_jobs
from air.comparison.compare_runs import compare_runs, output_folder
from air.comparison.config import CompareConfig
from air.comparison.reading import read_runs
from air.comparison.unfinished import commands
from air.config.parsing import parse_as
from air.errors import ConfigError, RunFolderError
from air.runs.lock import held
from tests.helpers.in_process import run_script
from tests.helpers.options import values_of
from tests.helpers.repository import REPOSITORY
from tests.helpers.sweep_folders import accuracies, fail_early, fill_sweep, make_run, make_sweep

BASIC = "BasicSweeper"  # Hydra's own
SWEEP = ["experiment=smoke", "optim.lr=1e-3,3e-3", "seed=0,1"]


def asked(runs, **changes):
    values = {**values_of("compare"), "formats": ["png"], "runs": runs, **changes}
    return parse_as(CompareConfig, values)


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


@pytest.mark.parametrize(
    "overrides",
    [
        ["prior=glob(li*,exclude=x)", "seed=range(2)", "optim.lr=0.1, 0.2", "name='a b'"],
        ["seed=2,1", "model.num_steps=4", "seed=0,3", "+model.new=[1,2],[3]", "~tracking"],
        ["optim.lr=tag(log,choice(0.1,0.2))", "name=sort('b c',a,reverse=true)", "resume=null"],
    ],
)
def test_jobs_are_those_of_hydras_own_sweeper(overrides, tmp_path):
    sweep = make_sweep(tmp_path / "sweep", overrides, params={"model.num_steps": "2,3"})
    with hydra_on_conf() as config_loader:
        parser = OverridesParser.create(config_loader=config_loader)
        parsed = parser.parse_overrides(["model.num_steps=2,3", *overrides])
        (sweeper,) = [s for s in Plugins.instance().discover(Sweeper) if s.__name__ == BASIC]
        (expected,) = sweeper.split_arguments(parsed, max_batch_size=None)
    assert sweep_jobs(sweep) == expected
    assert len(expected) > 1


def test_an_interval_is_none_of_a_grid(tmp_path):
    sweep = make_sweep(tmp_path / "sweep", ["optim.lr=interval(0.1,1)"])
    with pytest.raises(RunFolderError, match=r"multirun\.yaml: optim\.lr: has an interval"):
        sweep_jobs(sweep)


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
    with pytest.raises(ConfigError, match="no job has begun yet"):
        compare_runs(asked([str(sweep)]))
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


def test_a_sweep_that_has_just_begun_is_compared_too(tmp_path, capsys):
    sweep = make_sweep(tmp_path / "sweep", SWEEP)
    make_run(sweep / "0", sweep_jobs(sweep)[0], [{"iteration": 5, "train/elbo": 1.0}], None)
    with held(sweep / "0"):
        compare_runs(asked([str(sweep)]))
    text = capsys.readouterr().out
    assert text.startswith("4 runs in 2 settings: 1 running, 3 missing.")
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


def test_runs_whose_counts_collapsed_or_that_failed_are_no_success(tmp_path, capsys):
    sweep = make_sweep(tmp_path / "sweep", ["experiment=smoke", "seed=range(5)"])
    jobs = sweep_jobs(sweep)
    for number, (status, error, collapsed) in enumerate(
        [
            ("finished", None, None),
            ("finished", None, "nearly every held-out image is counted 0"),
            ("failed", "not finite", None),
            ("stopped", None, None),
        ]
    ):
        folder = sweep / str(number)
        make_run(folder, jobs[number], accuracies(number / 10), status, error, collapsed)
    comparison = compare_runs(asked([str(sweep)], pictures=[]))
    (row,) = comparison.rows
    assert (row.num_finished, row.num_ended, row.success_rate) == (2, 3, 1 / 3)
    assert row.last["val/count_accuracy"].mean == 0.05  # of all that finished
    text = capsys.readouterr().out
    assert "2 of 5      33%" in text
    (line,) = [line for line in text.splitlines() if "is counted 0" in line]
    assert line.startswith(f"finished  {sweep}/1")
    assert line.endswith("the counts have collapsed: nearly every held-out image is counted 0")
    assert not any("seed=1" in command for command in comparison.commands)
    with (sweep / "comparison" / "runs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [each["success"] for each in rows] == ["True", "False", "False", "", ""]
    with (sweep / "comparison" / "settings.csv").open() as file:
        (setting,) = csv.DictReader(file)
    assert (setting["ended"], float(setting["success rate"])) == ("3", 1 / 3)


# --- the commands ---------------------------------------------------------------------------------


def test_the_command_of_a_sweep_expands_to_its_jobs_in_its_folder(tmp_path):
    """With values and a folder that the shell and Hydra must have quoted."""
    overrides = ["optim.lr=1e-3,3e-3", "tracking.notes='it, (a) \\'b\\'','plain'", "seed=0,1"]
    of_hydra = ["hydra.sweep.dir=outputs/before", "hydra.sweeper.params={model.num_steps: '2,3'}"]
    name, params = "of mine, [1]", {"model.num_steps": "2,3"}
    sweep = make_sweep(tmp_path / name, overrides, params=params, of_hydra=of_hydra)
    fill_sweep(sweep, by_rate_and_seed, leave_out=[1, 14])
    runs, _ = read_runs([sweep])
    assert [run.folder.name for run in runs if run.status == "missing"] == ["1", "14"]
    (text,) = commands(runs)
    program, script, multirun, *given, folder = shlex.split(text)
    assert (program, script, multirun) == ("python", "scripts/train.py", "-m")
    assert given == [of_hydra[1], *overrides]
    parsed = OverridesParser.create().parse_override(folder)
    assert (parsed.key_or_group, parsed.value()) == ("hydra.sweep.dir", str(sweep))
    jobs = sweep_jobs(make_sweep(tmp_path / "again", given[1:], params=params))
    assert len(jobs) == len(runs) == 16
    assert [run.overrides for run in runs] == jobs  # so that each finds its own folder


def test_every_unfinished_run_is_in_one_command(tmp_path):
    """A finished sweep needs none, nor one that still runs; runs of their own are resumed."""
    sweeps = [make_sweep(tmp_path / name, SWEEP) for name in ("done", "killed", "on")]
    for sweep, absent in zip(sweeps, ([], [2, 3], [3]), strict=True):
        fill_sweep(sweep, by_rate_and_seed, leave_out=absent)
    make_run(sweeps[1] / "2", sweep_jobs(sweeps[1])[2], accuracies(0.5), "failed", "not finite")
    alone = make_run(tmp_path / "alone", ["experiment=smoke"], accuracies(0.5), None)
    with held(sweeps[2]):
        runs, _ = read_runs([*sweeps, alone])
        assert commands(runs) == [
            f"python scripts/train.py -m experiment=smoke optim.lr=1e-3,3e-3 seed=0,1 "
            f"hydra.sweep.dir={sweeps[1]}",
            f"python scripts/train.py resume={alone}",
        ]
    assert [run.status for run in runs if run.sweep == sweeps[2]] == ["finished"] * 3 + ["waiting"]
    job, _ = read_runs([sweeps[1] / "2"])  # one job alone
    assert commands(job) == [f"python scripts/train.py resume={sweeps[1]}/2"]


def test_a_sweep_without_its_record_is_gone_on_with_job_by_job(tmp_path):
    sweep = make_sweep(tmp_path / "sweep", SWEEP)
    jobs = sweep_jobs(sweep)
    make_run(sweep / "0", jobs[0], accuracies(0.5), None)
    fail_early(sweep / "1", jobs[1], "no such file")
    (sweep / "multirun.yaml").write_text("hydra: {}")
    runs, notes = read_runs([sweep])
    assert notes == [f"{sweep}/multirun.yaml: cannot be read: it is not what Hydra writes"]
    assert commands(runs) == [
        f"python scripts/train.py resume={sweep}/0",
        f"python scripts/train.py experiment=smoke optim.lr=0.001 seed=1 hydra.run.dir={sweep}/1",
    ]


@pytest.mark.slow
def test_running_the_command_adds_what_a_real_sweep_lacks(train_command, tmp_path):
    sweep = tmp_path / "sweep"
    train_command("-m", *train_command.smoke, "seed=0,1,2", f"hydra.sweep.dir={sweep}")
    whole = [(sweep / job / "metrics.jsonl").stat().st_mtime_ns for job in "01"]
    shutil.rmtree(sweep / "2")
    result = compare_command(f"runs={sweep}")
    assert "3 runs in 1 setting: 2 finished, 1 missing." in result.stdout
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("python ")]
    train_command(*shlex.split(line)[2:], check=False)
    assert "3 runs in 1 setting: 3 finished." in compare_command(f"runs={sweep}").stdout
    assert [(sweep / job / "metrics.jsonl").stat().st_mtime_ns for job in "01"] == whole


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
        "100%",
        "0.3000",
        "–",
        "0.3000",
        "–",
        "0.3000,",
        "missing",
    ]
    assert lines[7].split()[:8] == ["0.001", "2", "of", "2", "100%", "0.1500", "±", "0.0707"]
    assert f"python scripts/train.py -m {' '.join(SWEEP)} hydra.sweep.dir=sweep" in lines
    folder = sweep / "comparison"
    names = {"comparison.md", "settings.csv", "runs.csv"}
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


def test_bad_input_is_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run_script("compare", "runs=nowhere", "formats=[png]")
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
