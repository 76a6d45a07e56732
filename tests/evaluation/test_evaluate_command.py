"""`scripts/evaluate.py` on a small run."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from tests.helpers.in_process import run_script
from tests.helpers.repository import REPOSITORY
from tests.helpers.wandb_reader import offline_runs, read_offline_run

SMALL = ("num_images=100", "bound.num_images=2", "bound.num_samples=[1,10]")


@pytest.fixture
def run(smoke_run, tmp_path):
    return shutil.copytree(smoke_run, tmp_path / "run")


def evaluate(*overrides, cwd=None, env=None):
    return subprocess.run(
        [sys.executable, str(REPOSITORY / "scripts" / "evaluate.py"), *overrides],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        cwd=cwd,
        env={**os.environ, **(env or {})},
    )


def metrics_of(path):
    return json.loads(path.read_text())["metrics"]


def test_figures_are_printed_written_and_the_same_for_any_batch_size(run, tmp_path):
    result = evaluate(f"run={run}", *SMALL, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "counts/accuracy" in result.stdout
    assert "Average Recall" not in result.stdout  # of a library: it would tell tables of its own
    first = metrics_of(run / "evaluation.json")
    assert first["bound/num_images"] == 2
    assert {path.name for path in tmp_path.iterdir()} == {"run"}  # nothing of Hydra's own
    assert run_script("evaluate", f"run={run}", *SMALL, "batch_size=7").returncode == 0
    second = metrics_of(run / "evaluation.json")
    assert first.keys() == second.keys()
    for name in first:
        # null stands for nan: a share of nothing, such as boxes where none was found.
        pair = (np.array(metrics[name], dtype=float) for metrics in (first, second))
        np.testing.assert_allclose(*pair, rtol=1e-4, atol=1e-5, err_msg=name)


def test_images_without_truth_are_evaluated_as_far_as_can_be(run, tmp_path):
    np.savez(tmp_path / "mine.npz", x=np.random.default_rng(0).random((90, 50, 50), np.float32))
    data = ("data=npz", f"data.path={tmp_path / 'mine.npz'}", "data.test_fraction=0.5")
    result = run_script("evaluate", f"run={run}", *SMALL, *data, "num_steps=5")
    assert result.returncode == 0, result.stderr
    (written,) = run.glob("evaluation-npz-*.json")  # not in the place of the run's own
    names = {name.split("/")[0] for name in metrics_of(written)}
    assert names == {"elbo", "bound", "reconstruction"}
    for missing in ("counts", "boxes", "segmentation"):
        assert f"{missing}: not measured: the data has no" in result.stdout + result.stderr


def test_generalisation_and_downstream_tasks(run):
    result = run_script(
        "evaluate",
        f"run={run}",
        "evaluators=[generalisation,downstream]",
        "generalisation.counts=[0,3,40]",
        "generalisation.canvas_sizes=[60,10]",
        "generalisation.canvas_max_objects=3",
        "generalisation.num_images=50",
        "downstream.num_labels=[10]",
        "downstream.num_test=10",
        "downstream.num_repeats=1",
        "downstream.num_unlabelled=100",
    )
    assert result.returncode == 0, result.stderr
    metrics = metrics_of(run / "evaluation.json")
    assert {"generalisation/count_3_accuracy", "generalisation/canvas_60_accuracy"} < set(metrics)
    assert {f"generalisation/canvas_60_accuracy_at_{n}" for n in range(4)} < set(metrics)
    # 40 digits find no room, nor does one on a canvas of 10 pixels: said, and left out.
    for absent in ("count_40", "canvas_10"):
        assert f"generalisation: {absent} not measured: " in result.stdout + result.stderr
        assert f"generalisation/{absent}_accuracy" not in metrics
    for code in ("latents", "pixels", "vae"):
        for task in ("sum", "ascending"):
            assert 0 <= metrics[f"downstream/{task}_from_{code}_with_10"] <= 1


def test_figures_go_to_wandb_as_a_run_of_their_own(run):
    overrides = (f"run={run}", *SMALL, "evaluators=[counts]", "track=true")
    result = evaluate(*overrides, env={"WANDB_PROJECT": "mine"})
    assert result.returncode == 0, result.stderr
    (folder,) = offline_runs(run)
    tracked = read_offline_run(folder)
    assert (tracked.project, tracked.job_type) == ("mine", "evaluate")
    accuracy = metrics_of(run / "evaluation.json")["counts/accuracy"]
    assert tracked.summary["test/counts/accuracy"] == pytest.approx(accuracy)
    (line,) = [line for line in tracked.history if "test/counts/confusion.path" in line]
    assert line["iteration"] == 20
    kept = json.loads((folder / "files" / line["test/counts/confusion.path"]).read_text())
    confusion = metrics_of(run / "evaluation.json")["counts/confusion"]
    assert [row[1:] for row in kept["data"]] == confusion


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["run=nowhere"], "error: run: must be a run's folder"),
        (["run={run}", "evaluators=[count]"], "evaluators.0: must be 'counts', "),
        (["run={run}", "evaluators=[]"], "evaluators: "),
        (["run={run}", "num_imagse=3"], "num_imagse: no such key; did you mean num_images?"),
        (["run={run}", "bound.num_samples=[3,10]"], "bound.num_samples: each must divide"),
        (["run={run}", "output=no/such/folder.json"], "output: must be a file in a folder"),
        (["run={run}", "data=npz"], "data.path: is required, but missing"),
        (
            ["run={run}", "data=multi_mnist", "data.min_objects=5"],
            "data.min_objects: must be at most",
        ),
    ],
)
def test_bad_input_is_one_line(run, overrides, message):
    result = run_script("evaluate", *(override.format(run=run) for override in overrides))
    assert result.returncode == 1
    lines = [line for line in result.stderr.splitlines() if line]
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    assert message in lines[0]
    assert not (run / "evaluation.json").exists()
