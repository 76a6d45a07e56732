"""`scripts/train.py` as a user runs it: what the README promises, and what it refuses."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import air
from air.runs.checkpoint import numbered_checkpoints, read_checkpoint, read_latest
from air.runs.result import read_result
from air.tracking.jsonl import read_metrics
from tests.helpers.checkpoints import best_of
from tests.helpers.in_process import run_script
from tests.helpers.repository import REPOSITORY
from tests.helpers.training_process import start, wait_for
from tests.helpers.wandb_reader import offline_runs, read_offline_run


def the_run(tmp_path, pattern="outputs/runs/*/*"):
    (run_dir,) = tmp_path.glob(pattern)
    return run_dir


def same_weights(one, other):
    a, b = (read_latest(folder)[1] for folder in (one, other))
    assert a.iteration == b.iteration
    return all(torch.equal(value, b.model[name]) for name, value in a.model.items())


def test_a_run_leaves_its_folder_whole(train_command, tmp_path):
    result = train_command(*train_command.smoke, "model.num_steps=2")
    assert "held-out count accuracy: " in result.stdout
    run_dir = the_run(tmp_path)
    assert run_dir.name.split("-")[3] == "smoke"
    assert yaml.safe_load((run_dir / "config.yaml").read_text())["model"]["num_steps"] == 2
    assert yaml.safe_load((run_dir / "overrides.yaml").read_text())[-1] == "model.num_steps=2"
    assert "held-out count accuracy" in (run_dir / "train.log").read_text()
    assert {p.name for p in (run_dir / "pictures").iterdir()} >= {
        "reconstructions.png",
        "prior_samples.png",
    }
    assert read_metrics(run_dir / "metrics.jsonl")[-1]["iteration"] == 20
    model = air.load(run_dir)
    assert model.infer(torch.rand(3, 50, 50), num_steps=5).count_probs.shape == (3, 6)
    assert not (tmp_path / "outputs" / "sweeps").exists()


def test_help_and_cfg(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    text = run_script("train", "--help").stdout
    promises = (
        "usage:",
        "prior: constant, exponential, falling, linear",
        "examples:",
        "num_steps: 3",
    )
    for promised in promises:
        assert promised in text
    shown = run_script("train", "--cfg", "job", "model.num_steps=5").stdout
    assert yaml.safe_load(shown)["model"]["num_steps"] == 5
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    "name",
    ["compare", "dashboard", "demo", "evaluate", "make_scenes", "sample", "visualize"],
)
def test_help_of_the_other_scripts_lists_their_own_keys(name):
    result = run_script(name, "--help")
    assert result.returncode == 0
    assert result.stdout.startswith(f"usage: python scripts/{name}.py [KEY=VALUE ...]")
    assert f"conf/{name}.yaml says what each means" in result.stdout
    keys = yaml.safe_load((REPOSITORY / "conf" / f"{name}.yaml").read_text()).keys()
    for key in keys - {"defaults", "hydra"}:
        assert f"\n{key}:" in result.stdout
    assert "baseline" not in result.stdout  # a group of train.py's


def test_kill_9_and_resume_equal_an_undisturbed_run(train_command, tmp_path):
    overrides = [*train_command.smoke, "train.num_iterations=40", "train.save_every=20"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    train_command(*overrides, f"hydra.run.dir={whole}")
    process = start(tmp_path, *overrides, f"hydra.run.dir={killed}")
    wait_for((killed / "checkpoints" / "00000020.pt").exists, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert read_latest(killed)[1].iteration == 20
    result = train_command(f"resume={killed}")
    assert "resumed at iteration 20" in result.stdout
    assert same_weights(whole, killed)
    iterations = [line["iteration"] for line in read_metrics(killed / "metrics.jsonl")]
    assert iterations == sorted(iterations)
    assert iterations == [line["iteration"] for line in read_metrics(whole / "metrics.jsonl")]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_signals_save_and_say_how_to_continue(train_command, tmp_path, number, status):
    run_dir = tmp_path / "run"
    overrides = [*train_command.smoke, "train.num_iterations=100000", "train.save_every=50000"]
    process = start(tmp_path, *overrides, f"hydra.run.dir={run_dir}")
    wait_for(
        lambda: (run_dir / "metrics.jsonl").exists() and read_metrics(run_dir / "metrics.jsonl"),
        process,
    )
    process.send_signal(number)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == status, output
    assert f"stopped by {number.name} at iteration" in output
    assert "Traceback" not in output
    stopped = read_latest(run_dir)[1].iteration
    assert stopped > 0
    train_command(f"resume={run_dir}", f"train.num_iterations={stopped + 3}")
    assert read_latest(run_dir)[1].iteration == stopped + 3


@pytest.mark.slow
def test_two_multirun_jobs_are_two_wandb_runs(train_command, tmp_path):
    result = train_command(
        "-m", *train_command.smoke, "tracking=wandb", "tracking.tags=[x]", "seed=0,1"
    )
    assert "Traceback" not in result.stderr
    (sweep,) = tmp_path.glob("outputs/sweeps/*/*")
    runs = []
    for number in (0, 1):
        (folder,) = offline_runs(sweep / str(number))
        run = read_offline_run(folder)
        runs.append(run)
        assert run.name == f"smoke-{number}"
        assert run.group == sweep.name
        assert run.tags == ["x"]
        assert run.job_type == "train"
        assert run.exit_code == 0
        assert run.config["seed"] == number
        assert run.config["model"]["num_steps"] == 3
        assert run.config["data"]["canvas_size"] == 50
        losses = [line["train/loss"] for line in run.history if "train/loss" in line]
        expected = read_metrics(sweep / str(number) / "metrics.jsonl")
        assert losses == [line["train/loss"] for line in expected if "train/loss" in line]
        assert len(losses) == 4
        pictures = [f for f in run.files if "images/val/reconstructions" in f]
        assert len(pictures) == 16
        assert "val/count_accuracy" in run.summary
        best = best_of(sweep / str(number))
        assert run.summary["best/count_accuracy"] == best.metric
        (artifact,) = [each for each in run.artifacts if each["type"] == "model"]
        (file,) = artifact["manifest"]["contents"]
        assert read_checkpoint(Path(file["local_path"])).iteration == best.iteration
    assert runs[0].id != runs[1].id
    assert not same_weights(sweep / "0", sweep / "1")


def test_the_users_own_images(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    np.savez(tmp_path / "mine.npz", x=random.random((200, 30, 30)).astype(np.float32))
    small = ["tracking=none", "train.num_iterations=4", "train.eval_every=2", "train.batch_size=16"]
    small += ["train.step=eager"]
    result = run_script("train", "data=npz", "data.path=mine.npz", "model.window_size=20", *small)
    assert "held-out count accuracy: not known, as the data has no counts" in result.stdout
    assert air.load(the_run(tmp_path)).x_size == 30


BAD = {
    "--experiment smoke": "--experiment: is not an option of this command",
    "model.nm_steps=3": "model.nm_steps: no such key; did you mean model.num_steps?",
    "+model.nm_steps=3": "model.nm_steps: no such key; did you mean model.num_steps?",
    "prior=foo": "prior: must be one of constant, exponential, falling, linear, rising, got foo",
    "optim.lr=${nope}": "optim.lr: Interpolation key 'nope' not found; a text that has ${ in it",
    "model.num_steps=0": "model.num_steps: must be greater than or equal to 1, got 0",
    "model.likelihood_sd=0": "model.likelihood_sd: must be greater than 0",
    "prior.success=1.5": "prior.success: must be less than 1, got 1.5",
    "model.num_steps=": "model.num_steps: must be a valid integer, got ''",
    "data=npz": "data.path: is required, but missing",
    "tracking=wandb tracking.mode=online": "tracking.mode: online needs an API key",
    "resume=nowhere": "holds no run",
    "resume=cut.npz": "cut.npz: must be a folder, got a file",
    "hydra.run.dir=cut.npz": "cut.npz: must be a folder, got a file",
    "name=a/b": "name: must match",
    "data=npz data.path=absent.npz": "absent.npz",
    "data=npz data.path=cut.npz": "cut.npz",
    "data=npz data.path=flat.npz": "flat.npz",
    "data=npz data.path=nan.npz": "nan.npz",
    "data=npz data.path=small.npz": "model.window_size: must be at most the image's 12 pixels",
    "data=npz data.path=small.npz model.window_size=9 model.scale_prior_mean=auto": (
        "model.scale_prior_mean: must be given as a number, got 'auto'"
    ),
    "data=npz data.path=few.npz": "train.batch_size: must be at most the 9 training images",
}
if not torch.cuda.is_available():
    BAD["device=cuda"] = "device: must be auto or cpu on this machine"


@pytest.mark.parametrize("bad", list(BAD))
def test_bad_input_is_one_line_and_leaves_nothing(monkeypatch, tmp_path, bad):
    monkeypatch.chdir(tmp_path)
    x = np.zeros((200, 12, 12), np.float32)
    np.savez(tmp_path / "small.npz", x=x)
    np.savez(tmp_path / "few.npz", x=np.zeros((10, 50, 50), np.uint8))
    np.savez(tmp_path / "flat.npz", x=x[0])
    np.savez(tmp_path / "nan.npz", x=x * np.nan)
    whole = (tmp_path / "small.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    check_refused(run_script("train", "tracking=none", *bad.split()), BAD[bad])
    assert not list(tmp_path.glob("outputs/runs/*/*"))
    assert not (tmp_path / "nowhere").exists()


def check_refused(result, message):
    assert result.returncode == 1, result.stdout + result.stderr
    lines = [line for line in result.stderr.splitlines() if line]
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    assert message in lines[0]


def test_bad_input_ends_the_process_with_one_line(train_command):
    bad = train_command("tracking=none", "data=npz", "data.path=no", check=False)
    check_refused(bad, "no: ")


def test_foreign_and_damaged_checkpoints_are_refused(smoke_run, tmp_path):
    run_dir = shutil.copytree(smoke_run, tmp_path / "run")
    for wrong, message in (
        (["model.z_what_size=99"], "is of another architecture: "),
        (["prior=linear"], "prior: a resumed run keeps its own prior"),
    ):
        check_refused(run_script("train", f"resume={run_dir}", *wrong), message)
    before, last = numbered_checkpoints(run_dir)
    for path in (before, last, run_dir / "checkpoints" / "best.pt"):
        path.write_bytes(path.read_bytes()[:1000])
    metrics = (run_dir / "metrics.jsonl").read_bytes()
    check_refused(run_script("train", f"resume={run_dir}"), f"{last}: damaged")
    assert (run_dir / "metrics.jsonl").read_bytes() == metrics
    assert read_result(run_dir).status == "finished"


def test_a_folder_that_holds_a_run_is_left_as_it_is(smoke_run, tmp_path):
    run_dir = shutil.copytree(smoke_run, tmp_path / "run")
    copy = shutil.copytree(run_dir, tmp_path / "copy")
    result = run_script("train", "experiment=smoke", f"hydra.run.dir={run_dir}")
    check_refused(result, "already holds a run, which is never overwritten")
    for path in copy.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (run_dir / path.relative_to(copy)).read_bytes()


def test_works_from_any_folder_and_without_torch_for_help(train_command):
    code = (
        "import sys, runpy; sys.argv = ['train.py', '--help'];"
        f"sys.path.insert(0, {str(REPOSITORY)!r})\n"
        "try: runpy.run_path(sys.path[0] + '/scripts/train.py', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "assert 'torch' not in sys.modules and 'wandb' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.slow
def test_the_quickstart_reaches_98_percent(tmp_path):
    result = subprocess.run(
        [sys.executable, str(REPOSITORY / "scripts" / "train.py"), "tracking=none"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ},
    )
    assert result.returncode == 0, result.stderr
    final = read_metrics(the_run(Path(tmp_path)) / "metrics.jsonl")[-1]
    assert final["val/count_accuracy"] >= 0.98
