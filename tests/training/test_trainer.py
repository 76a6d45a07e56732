"""The training loop: it learns, goes on exactly, and stops where a loss is not finite."""

import subprocess
import sys

import pytest
import torch

import air
from air.config.parsing import parse_config
from air.errors import CheckpointError, ConfigError, NonFiniteLossError, RunFolderError
from air.runs.checkpoint import read_latest, save_checkpoint
from air.tracking.jsonl import read_metrics
from air.training.run import choose_device, train
from tests.helpers.compiler import needs_a_compiler
from tests.helpers.options import composed
from tests.helpers.repository import REPOSITORY


@pytest.fixture
def configured(data_root):
    def config(*overrides):
        small = ("experiment=smoke", f"data.root={data_root}", "train.num_pictures=0")
        return parse_config(composed(*small, *overrides))

    return config


PLAIN = "train.step=eager"  # recording takes longer than 20 plain steps


def final_state(run_dir):
    return read_latest(run_dir)[1]


def crash_after(function):
    def wrapped(*arguments):
        function(*arguments)
        raise KeyboardInterrupt

    return wrapped


def assert_equal(one, other):
    assert one.iteration == other.iteration
    assert one.model.keys() == other.model.keys()
    for name in one.model:
        assert torch.equal(one.model[name], other.model[name]), name
    assert torch.equal(one.random_states["cpu"], other.random_states["cpu"])
    assert one.moving_averages.keys() == other.moving_averages.keys()
    for name, value in one.moving_averages.items():
        assert torch.equal(value, other.moving_averages[name])


@pytest.mark.parametrize(
    "overrides",
    [
        ["optim=cosine", "optim.warmup_iterations=3"],
        [
            "inference=reinforce",
            "baseline=neural",
            "prior=exponential",
            "optim.clip_norm=10",
            PLAIN,
        ],
        ["inference=reinforce", "baseline=moving_average", "model.use_masking=false"],
        pytest.param(
            ["model=pixels", "inference=reinforce", "baseline=neural", "train.step=compiled"],
            marks=[pytest.mark.slow, needs_a_compiler],
        ),
    ],
)
def test_resuming_goes_on_exactly(configured, tmp_path, overrides, monkeypatch):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    overrides = [*overrides, "device=cpu"]  # a GPU adds up in any order
    train(configured(*overrides), whole, [])

    # One crash before there is a checkpoint, and one right after.
    def crash(self, scenes):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("air.training.trainer.Trainer.evaluate", crash)
        with pytest.raises(KeyboardInterrupt):
            train(configured(*overrides), parts, [])
    assert read_latest(parts) is None
    with monkeypatch.context() as patch:
        patch.setattr("air.training.trainer.save_checkpoint", crash_after(save_checkpoint))
        with pytest.raises(KeyboardInterrupt):
            train(configured(*overrides, f"resume={parts}"), parts, [])
    assert final_state(parts).iteration == 10
    train(configured(*overrides, f"resume={parts}"), parts, [])
    assert_equal(final_state(whole), final_state(parts))
    lines = [
        [
            {name: value for name, value in line.items() if "time" not in name}
            for line in read_metrics(folder / "metrics.jsonl")
        ]
        for folder in (whole, parts)
    ]
    assert lines[0] == lines[1]


def test_same_seed_same_run_and_zero_is_a_seed(configured, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(configured(f"seed={seed}", PLAIN), tmp_path / name, [])
    assert_equal(final_state(tmp_path / "a"), final_state(tmp_path / "b"))
    with pytest.raises(AssertionError):
        assert_equal(final_state(tmp_path / "a"), final_state(tmp_path / "c"))


def test_metrics_hold_losses_parts_counts_rates_and_prior(configured, tmp_path):
    settings = ["prior=linear", "prior.anneal_duration=20", "optim.lr=1e-3"]
    settings += ["optim.warmup_iterations=0", PLAIN]
    metric = train(configured(*settings), tmp_path, [])
    lines = read_metrics(tmp_path / "metrics.jsonl")
    trained = [line for line in lines if "train/loss" in line]
    assert [line["iteration"] for line in trained] == [5, 10, 15, 20]
    for line in trained:
        parts = [line[f"train/{p}"] for p in ("likelihood", "kl_pres", "kl_where", "kl_what")]
        assert line["train/elbo"] == pytest.approx(parts[0] - sum(parts[1:]), rel=1e-5)
        loss = -line["train/elbo"] + 10 * line["train/sleep"]
        assert line["train/loss"] == pytest.approx(loss, rel=1e-4)
        assert line["train/sleep"] > 0
        assert line["time/steps_per_second"] > 0
    assert [line["optim/lr"] for line in trained] == pytest.approx([7.5e-4, 5e-4, 2.5e-4, 0])
    assert trained[0]["prior/p_0"] > trained[-1]["prior/p_0"] > 0
    evaluated = [line for line in lines if "val/elbo" in line]
    assert [line["iteration"] for line in evaluated] == [10, 20]
    confusion = torch.tensor(evaluated[-1]["val/confusion"])
    assert confusion.shape == (3, 4)
    assert confusion.sum() == 128
    assert confusion.diag().sum().item() / 128 == evaluated[-1]["val/count_accuracy"] == metric


def test_a_non_finite_loss_stops_the_run_and_keeps_the_last_good_checkpoint(
    configured, tmp_path, monkeypatch
):
    from air.training.trainer import Trainer

    step = Trainer.step

    def poisoned(self):
        if self.iteration == 13:
            with torch.no_grad():
                self.air.decode.mlp.layers[0].weight.fill_(torch.inf)
        step(self)

    monkeypatch.setattr(Trainer, "step", poisoned)
    with pytest.raises(
        NonFiniteLossError, match=r"iteration 13: the loss is nan; not finite: loss"
    ):
        # On a GPU it is told when it is logged, or by the assertion of the next step's draw.
        train(configured("inference=reinforce", "train.save_every=5", "device=cpu"), tmp_path, [])
    kept = final_state(tmp_path)
    assert kept.iteration == 10
    assert all(value.isfinite().all() for value in kept.model.values())


def test_weights_that_are_not_finite_are_never_saved(configured, tmp_path, monkeypatch):
    from air.training.trainer import Trainer

    save = Trainer.save

    def poisoned(self):
        with torch.no_grad():
            self.air.guide.z_what_init.fill_(torch.nan)
        save(self)

    monkeypatch.setattr(Trainer, "save", poisoned)
    with pytest.raises(NonFiniteLossError, match=r"iteration 10: parameter guide\.z_what_init"):
        train(configured("train.eval_every=20"), tmp_path, [])
    assert read_latest(tmp_path) is None


def test_more_objects_than_steps_is_said(configured, tmp_path, caplog):
    train(configured("model.num_steps=1", "train.num_iterations=1"), tmp_path, [])
    assert "images have up to 2 objects, and the model looks for 1" in caplog.text


def test_clipping_is_per_image(configured, tmp_path):
    """A gradient that is never clipped changes nothing; one that always is, does."""
    for name, limit in (("none", "null"), ("loose", "1e9"), ("tight", "1e-9")):
        train(configured(f"optim.clip_norm={limit}", PLAIN), tmp_path / name, [])
    assert_equal(final_state(tmp_path / "none"), final_state(tmp_path / "loose"))
    with pytest.raises(AssertionError):
        assert_equal(final_state(tmp_path / "none"), final_state(tmp_path / "tight"))


def test_folders_are_claimed(configured, tmp_path):
    train(configured(PLAIN), tmp_path, ["a=1"])
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
    with pytest.raises(RunFolderError, match="already holds a run, which is never overwritten"):
        train(configured(), tmp_path, [])
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
    with pytest.raises(RunFolderError, match="holds no run"):
        train(configured("resume=x"), tmp_path / "empty", [])


def test_a_folder_in_use_is_refused(configured, tmp_path):
    from air.runs.folder import claimed

    with claimed(tmp_path, resume=False), pytest.raises(RunFolderError, match="another process"):
        train(configured(), tmp_path, [])


def test_a_checkpoint_of_another_architecture_is_refused(configured, tmp_path):
    train(configured(), tmp_path, [])
    with pytest.raises(CheckpointError, match="another architecture"):
        train(configured("model.z_what_size=7", f"resume={tmp_path}"), tmp_path, [])


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for a GPU where there is none")
def test_cuda_asked_for_and_absent(configured):
    with pytest.raises(ConfigError, match="device: must be auto or cpu on this machine"):
        choose_device(configured("device=cuda"))
    assert choose_device(configured("device=auto")) == torch.device("cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_run_on_the_gpu(configured, tmp_path):
    train(configured("device=cuda"), tmp_path, [])
    assert air.load(tmp_path).infer(torch.rand(2, 50, 50)).count.shape == (2,)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_what_a_gpu_asserts_is_one_line(tmp_path):
    overrides = ["experiment=smoke", "inference=reinforce", "baseline=neural", "optim.lr=1e30"]
    result = subprocess.run(
        [sys.executable, str(REPOSITORY / "scripts" / "train.py"), *overrides, "tracking=none"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "error: iteration" in result.stderr
    assert "not finite" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_short_run_beats_chance_by_far(configured, tmp_path):
    # One digit or none on a small canvas: chance is one half.
    metric = train(
        configured(
            "data.max_objects=1",
            "data.canvas_size=32",
            "data.num_train=4096",
            "data.num_test=512",
            "model.num_steps=1",
            "model.window_size=20",
            "model.scale_prior_mean=1.5",
            "model.rnn_hidden_size=64",
            "train.num_iterations=500",
            "train.eval_every=500",
            "train.save_every=500",
        ),
        tmp_path,
        [],
    )
    assert metric > 0.9
    loaded = air.load(tmp_path)
    assert loaded.x_size == 32
