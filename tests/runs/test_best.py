"""The best checkpoint of a run: it says how good it is, and is kept when others are dropped."""

import os

import pytest
import torch

import air
from air.data.loading import load_data
from air.data.scenes import Data, Scenes
from air.errors import CheckpointError, DamagedCheckpointError
from air.evaluation.held_out import evaluate
from air.runs.best import Best, BestModel
from air.runs.checkpoint import (
    best_checkpoint,
    numbered_checkpoints,
    read_latest,
    save_checkpoint,
    write_checkpoint,
)
from air.runs.trained import open_run
from air.tracking.jsonl import read_metrics
from air.training.run import train
from tests.helpers.checkpoints import best_of, checkpoint_of
from tests.helpers.models import tiny


def followed(run_dir, *looks, num_images=1):
    """Make a run that looks and saves at once; return what follows its best."""
    best = BestModel(run_dir, num_images, counts_known=True)
    for iteration, metric in looks:
        is_best = best.see(iteration, metric)
        checkpoint = checkpoint_of(tiny(), iteration, best.note())
        save_checkpoint(run_dir, checkpoint)
        if is_best:
            write_checkpoint(best.path, checkpoint)
    return best


def resumed(run_dir, num_images=1):
    """Return what follows the best of a run that goes on from its newest checkpoint."""
    best = BestModel(run_dir, num_images, counts_known=True)
    best.restore(read_latest(run_dir)[1].best)
    return best


def iterations(run_dir):
    return [int(path.stem) for path in numbered_checkpoints(run_dir)]


def test_the_best_stays_when_its_numbered_file_is_dropped(tmp_path):
    looks = ((5, 0.5), (10, 0.9), (15, 0.9), (20, 0.3), (25, float("nan")))
    best = followed(tmp_path, *looks, num_images=100)
    assert best.metrics() == {"best/count_accuracy": 0.9, "best/iteration": 10}
    assert iterations(tmp_path) == [20, 25]
    assert best_of(tmp_path) == Best(iteration=10, metric=0.9, num_images=100)
    assert resumed(tmp_path, num_images=100).best == best.best


def test_looks_at_another_number_of_images_are_not_compared(tmp_path, caplog):
    followed(tmp_path, (5, 0.9), num_images=100)
    assert not resumed(tmp_path, num_images=100).see(10, 0.4)
    changed = resumed(tmp_path, num_images=50)
    assert changed.metrics() == {}
    assert changed.see(10, 0.4)
    assert not caplog.records


def test_a_run_goes_back_no_further_than_its_best(tmp_path, caplog):
    best = followed(tmp_path, (5, 0.5))
    assert best.see(10, 0.9)
    write_checkpoint(best.path, checkpoint_of(tiny(), 10, best.note()))
    assert read_latest(tmp_path)[0] == best_checkpoint(tmp_path)
    save_checkpoint(tmp_path, checkpoint_of(tiny(), 15, best.note()))
    assert read_latest(tmp_path)[1].iteration == 15
    assert not caplog.records
    (tmp_path / "checkpoints" / "00000015.pt").write_bytes(b"")
    path, checkpoint = read_latest(tmp_path)
    assert (path, checkpoint.iteration) == (best_checkpoint(tmp_path), 10)
    (warning,) = caplog.messages
    assert "00000015.pt: damaged" in warning
    assert warning.endswith(f"; using {path} instead")
    assert resumed(tmp_path).best == Best(10, 0.9, 1)


def truncate(path):
    path.write_bytes(b"")


def put_an_older_one(path):
    best = {"iteration": 3, "metric": 0.1, "num_images": 1}
    write_checkpoint(path, checkpoint_of(tiny(), 3, best))


def put_a_numbered_one(path):
    write_checkpoint(path, checkpoint_of(tiny(), 5))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (truncate, "damaged, or not a checkpoint: File is not a zip file"),
        (os.remove, "no such checkpoint"),
        (put_an_older_one, "is not the run's best model"),
        (put_a_numbered_one, "is not the run's best model"),
    ],
)
def test_a_damaged_or_lost_best_is_said_once_and_the_next_look_is_kept(
    tmp_path, caplog, change, reason
):
    followed(tmp_path, (5, 0.5), (10, 0.4))
    kept = best_checkpoint(tmp_path)
    change(kept)
    best = resumed(tmp_path)
    said = f"{kept}: {reason}; it was of iteration 5; the best from now on is kept"
    assert caplog.messages == [said]
    assert best.metrics() == {}
    assert best.see(15, 0.1)


def test_a_damaged_best_alone_is_refused(tmp_path):
    best_checkpoint(tmp_path).parent.mkdir()
    truncate(best_checkpoint(tmp_path))
    with pytest.raises(DamagedCheckpointError, match=r"best\.pt: damaged"):
        read_latest(tmp_path)


def test_a_run_without_a_look_has_no_best(tmp_path):
    save_checkpoint(tmp_path, checkpoint_of(tiny()))
    with pytest.raises(CheckpointError, match="has no best checkpoint yet"):
        air.load(tmp_path, which="best")
    assert resumed(tmp_path).best is None


# --- runs -----------------------------------------------------------------------------------------


@pytest.fixture
def seen(monkeypatch):
    """Return what the looks of runs are compared by: iteration -> metric."""
    seen, see = {}, BestModel.see

    def record(self, iteration, metric):
        seen[iteration] = metric
        return see(self, iteration, metric)

    monkeypatch.setattr(BestModel, "see", record)
    return seen


def test_a_run_keeps_its_best_and_gives_it_back(uneven, tmp_path, scored):
    train(uneven("train.num_iterations=9", "train.save_every=20"), tmp_path, [])
    assert best_of(tmp_path) == Best(iteration=6, metric=0.7, num_images=40)
    assert iterations(tmp_path) == [9]
    assert (open_run(tmp_path).iteration, open_run(tmp_path, "best").iteration) == (9, 6)
    best, latest = air.load(tmp_path, which="best"), air.load(tmp_path)
    kept = air.load(best_checkpoint(tmp_path))
    assert all(map(torch.equal, best.state_dict().values(), kept.state_dict().values()))
    assert not torch.equal(best.guide.attention.score.weight, latest.guide.attention.score.weight)
    with pytest.raises(
        CheckpointError, match="which: must be latest, best or an iteration, got 'last'"
    ):
        air.load(tmp_path, which="last")
    logged = [line for line in read_metrics(tmp_path / "metrics.jsonl") if "val/elbo" in line]
    assert [line["best/iteration"] for line in logged] == [3, 6, 6]
    assert [line["best/count_accuracy"] for line in logged] == [0.2, 0.7, 0.7]


@pytest.mark.parametrize("counts_known", [True, False])
def test_the_last_look_at_all_images_is_compared_by_the_first_ones(
    uneven, tmp_path, monkeypatch, seen, counts_known
):
    def load(config):
        data = load_data(config)
        test = data.test if counts_known else Scenes(data.test.images, None, None, None)
        return Data(data.train, test)

    monkeypatch.setattr("air.training.run.load_data", load)
    config = uneven("train.eval_size=15")
    train(config, tmp_path, [])
    run, few = open_run(tmp_path), load(config.data).test.subset(slice(15))
    assert seen[12] == evaluate(run.air, few, run.z_pres_prior_p).metric
    metric = "count_accuracy" if counts_known else "elbo"
    logged = [line for line in read_metrics(tmp_path / "metrics.jsonl") if "val/elbo" in line]
    assert [line[f"val/{metric}"] for line in logged[:-1]] == [seen[3], seen[6], seen[9]]
    assert logged[-1][f"val/{metric}"] != seen[12]
    assert best_of(tmp_path).num_images == 15
    assert logged[-1][f"best/{metric}"] == best_of(tmp_path).metric == max(seen.values())
