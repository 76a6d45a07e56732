"""The best checkpoint of a run: kept, not dropped, and the same after any crash."""

import json
import os
import pkgutil

import pytest
import torch

import air
from air.config.parsing import parse_config
from air.data.loading import load_data
from air.data.scenes import Data, Scenes
from air.errors import CheckpointError
from air.runs.best import Best, BestModel, read_best
from air.runs.checkpoint import read_checkpoint, save_checkpoint
from air.runs.trained import open_run
from air.tracking.jsonl import read_metrics
from air.training.run import train
from tests.helpers.checkpoints import checkpoint_of
from tests.helpers.models import tiny
from tests.helpers.options import composed


@pytest.fixture
def configured(data_root):
    def config(*overrides):
        small = [
            "experiment=smoke",
            f"data.root={data_root}",
            "train.num_pictures=0",
            "train.step=eager",
        ]
        small += ["train.eval_size=60", "train.eval_every=5", "train.save_every=20"]
        return parse_config(composed(*small, *overrides))

    return config


def files(run_dir):
    return sorted(path.name for path in (run_dir / "checkpoints").iterdir())


def test_the_best_stays_when_its_numbered_file_is_dropped(tmp_path):
    best = BestModel(tmp_path, 100, counts_known=True)
    assert best.figures() == {}
    for iteration, metric in ((5, 0.5), (10, 0.9), (15, 0.9), (20, 0.3), (25, float("nan"))):
        path = save_checkpoint(tmp_path, checkpoint_of(tiny(), iteration))
        if best.see(iteration, metric):
            best.keep(path)
    assert best.figures() == {"best/count_accuracy": 0.9, "best/iteration": 10}
    assert files(tmp_path) == ["00000020.pt", "00000025.pt", "best.json", "best.pt"]
    assert read_checkpoint(tmp_path / "checkpoints" / "best.pt").iteration == 10
    assert read_best(tmp_path) == Best(iteration=10, metric=0.9, num_images=100)
    assert json.loads((tmp_path / "checkpoints" / "best.json").read_text())["metric"] == 0.9


def test_looks_at_another_number_of_images_are_not_compared(tmp_path):
    first = BestModel(tmp_path, 100, counts_known=False)
    assert first.see(5, -10.0)
    first.keep(save_checkpoint(tmp_path, checkpoint_of(tiny(), 5)))
    same = BestModel(tmp_path, 100, counts_known=False)
    same.restore(first.note(), 5)
    assert not same.see(10, -20.0)
    changed = BestModel(tmp_path, 50, counts_known=False)
    changed.restore(first.note(), 5)
    assert changed.figures() == {}
    assert changed.see(10, -20.0)
    assert changed.figures() == {"best/elbo": -20.0, "best/iteration": 10}


def test_without_hard_links_it_is_a_copy(tmp_path, monkeypatch):
    def unsupported(*paths):
        raise OSError("not supported")

    monkeypatch.setattr(os, "link", unsupported)
    best = BestModel(tmp_path, 1, counts_known=True)
    best.see(5, 0.5)
    path = save_checkpoint(tmp_path, checkpoint_of(tiny(), 5))
    best.keep(path)
    kept = tmp_path / "checkpoints" / "best.pt"
    assert kept.read_bytes() == path.read_bytes()
    assert not kept.samefile(path)


def test_a_link_takes_no_room(tmp_path):
    best = BestModel(tmp_path, 1, counts_known=True)
    best.see(5, 0.5)
    path = save_checkpoint(tmp_path, checkpoint_of(tiny(), 5))
    for _ in range(2):  # once more, as after a crash
        best.keep(path)
        assert (tmp_path / "checkpoints" / "best.pt").samefile(path)
        assert files(tmp_path) == ["00000005.pt", "best.json", "best.pt"]


def keep_all(run_dir, *looks):
    """Make a run whose every look is saved; return the note that its last checkpoint would hold."""
    best = BestModel(run_dir, 1, counts_known=True)
    for iteration, metric in looks:
        path = save_checkpoint(run_dir, checkpoint_of(tiny(), iteration))
        if best.see(iteration, metric):
            best.keep(path)
    return best.note()


def best_after_going_back(run_dir, noted, iteration):
    best = BestModel(run_dir, 1, counts_known=True)
    best.restore(noted, iteration)
    return best


def test_the_best_before_the_last_is_kept_until_that_is_followed(tmp_path):
    noted = keep_all(tmp_path, (5, 0.5), (10, 0.1), (15, 0.2))
    assert files(tmp_path) == ["00000010.pt", "00000015.pt", "best.json", "best.pt"]
    best = best_after_going_back(tmp_path, noted, 15)
    assert best.see(20, 0.9)
    best.keep(save_checkpoint(tmp_path, checkpoint_of(tiny(), 20)))
    numbered = ["00000005.pt", "00000015.pt", "00000020.pt"]
    assert files(tmp_path) == [*numbered, "best.json", "best.pt"]
    # As if the last, which is also best.pt, had turned out damaged.
    for name in ("00000020.pt", "best.pt"):
        (tmp_path / "checkpoints" / name).write_bytes(b"")
    best = best_after_going_back(tmp_path, noted, 15)
    assert best.best == Best(5, 0.5, 1) == read_best(tmp_path)
    assert read_checkpoint(tmp_path / "checkpoints" / "best.pt").iteration == 5
    save_checkpoint(tmp_path, checkpoint_of(tiny(), 20))
    assert files(tmp_path) == ["00000015.pt", "00000020.pt", "best.json", "best.pt"]


def test_a_best_that_was_found_after_the_checkpoint_is_forgotten(tmp_path):
    keep_all(tmp_path, (10, 0.5))
    best = best_after_going_back(tmp_path, None, 5)
    assert best.best is None
    assert files(tmp_path) == ["00000010.pt"]


@pytest.mark.parametrize("damage", ["checkpoints/best.json", "checkpoints/best.pt"])
def test_a_damaged_best_is_made_good_or_said_to_be_lost(tmp_path, caplog, damage):
    noted = keep_all(tmp_path, (5, 0.5), (10, 0.4), (15, 0.4))
    (tmp_path / damage).write_bytes(b"{")
    best = best_after_going_back(tmp_path, noted, 15)
    assert str(tmp_path / damage) in caplog.text
    if damage.endswith("json"):
        assert best.best == Best(5, 0.5, 1) == read_best(tmp_path)
    else:
        assert "it was the best, of iteration 5; the best from now on is kept" in caplog.text
        assert best.see(20, 0.1)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"iteration": 1}', '{"iteration": "1"}'])
def test_a_damaged_note_is_named(tmp_path, text):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "best.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"best\.json: damaged") as caught:
        read_best(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.fixture
def scored(monkeypatch):
    """Say how good a model is: 20 iterations learn too little to differ."""
    from air.training.trainer import Trainer

    metrics = {5: 0.2, 10: 0.7, 15: 0.7, 20: 0.6}
    monkeypatch.setattr(Trainer, "_comparable", lambda self, evaluation: metrics[self.iteration])


def test_a_run_keeps_its_best_and_gives_it_back(configured, tmp_path, scored):
    train(configured(), tmp_path, [])
    assert read_best(tmp_path) == Best(iteration=10, metric=0.7, num_images=60)
    assert files(tmp_path) == ["00000010.pt", "00000020.pt", "best.json", "best.pt"]
    assert (open_run(tmp_path).iteration, open_run(tmp_path, "best").iteration) == (20, 10)
    kept = read_checkpoint(tmp_path / "checkpoints" / "best.pt").model
    best, latest = air.load(tmp_path, which="best"), air.load(tmp_path)
    assert all(torch.equal(value, kept[name]) for name, value in best.state_dict().items())
    assert not torch.equal(best.z_what_init, latest.z_what_init)
    with pytest.raises(CheckpointError, match="which: must be latest or best, got 'last'"):
        air.load(tmp_path, which="last")
    logged = [line for line in read_metrics(tmp_path / "metrics.jsonl") if "val/elbo" in line]
    assert [line["best/iteration"] for line in logged] == [5, 10, 10, 10]
    assert [line["best/count_accuracy"] for line in logged] == [0.2, 0.7, 0.7, 0.7]


@pytest.mark.parametrize("counts_known", [True, False])
def test_the_last_look_at_all_images_is_compared_by_the_first_ones(
    configured, tmp_path, monkeypatch, counts_known
):
    from air.training.trainer import Trainer

    compared = []

    def spied(self, evaluation):
        metric = comparable(self, evaluation)
        few = self._evaluate(self._few)
        compared.append((self.iteration, len(evaluation.count), metric == few.metric))
        return metric

    def load(config):
        data = load_data(config)
        unknown = Scenes(data.test.images, None, None, None)
        return data if counts_known else Data(data.train, unknown)

    monkeypatch.setattr("air.training.run.load_data", load)
    comparable = Trainer._comparable
    monkeypatch.setattr(Trainer, "_comparable", spied)
    train(configured(), tmp_path, [])
    assert compared == [(5, 60, True), (10, 60, True), (15, 60, True), (20, 128, True)]
    assert read_best(tmp_path).num_images == 60
    name = "best/count_accuracy" if counts_known else "best/elbo"
    assert read_metrics(tmp_path / "metrics.jsonl")[-1][name] == read_best(tmp_path).metric


def test_a_run_without_a_look_has_no_best(tmp_path):
    save_checkpoint(tmp_path, checkpoint_of(tiny()))
    with pytest.raises(CheckpointError, match="has no best checkpoint yet"):
        air.load(tmp_path, which="best")


def stop(*arguments, **keywords):
    raise KeyboardInterrupt


def before(function):
    return stop


def after(function):
    def wrapped(*arguments, **keywords):
        function(*arguments, **keywords)
        raise KeyboardInterrupt

    return wrapped


@pytest.mark.parametrize(
    ("name", "when"),
    [
        ("air.training.trainer.save_checkpoint", before),
        ("air.training.trainer.save_checkpoint", after),
        ("air.runs.best.BestModel.keep", after),
        ("air.runs.files.os.link", after),
        ("air.runs.best.asdict", before),  # best.pt is new, best.json is not
    ],
)
def test_a_crash_at_the_best_look_changes_nothing(
    configured, tmp_path, monkeypatch, scored, name, when
):
    from air.training.trainer import Trainer

    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(configured(), whole, [])
    look = Trainer.look
    with monkeypatch.context() as patch:

        def crash_at_10(self, scenes):
            if self.iteration == 10:
                patch.setattr(name, when(pkgutil.resolve_name(name)))
            return look(self, scenes)

        patch.setattr(Trainer, "look", crash_at_10)
        with pytest.raises(KeyboardInterrupt):
            train(configured(), parts, [])
    train(configured(f"resume={parts}"), parts, [])
    assert files(parts) == files(whole)
    note = "checkpoints/best.json"
    assert (parts / note).read_bytes() == (whole / note).read_bytes()
    for file in ("best.pt", "00000020.pt"):
        one, other = (read_checkpoint(path / "checkpoints" / file) for path in (whole, parts))
        assert one.iteration == other.iteration
        assert all(torch.equal(value, other.model[name]) for name, value in one.model.items())
        assert torch.equal(one.random_states["cpu"], other.random_states["cpu"])
    one, other = (
        [
            {name: value for name, value in line.items() if "time" not in name}
            for line in read_metrics(folder / "metrics.jsonl")
        ]
        for folder in (whole, parts)
    )
    assert one == other
