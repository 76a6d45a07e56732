"""Several processes take the steps that one would, and end together."""

import os
import signal
import socket

import pytest
import torch
import torch.multiprocessing

from air.cli.compose import compose_config
from air.errors import ConfigError
from air.runs.checkpoint import read_latest
from air.runs.result import read_result
from air.tracking.jsonl import read_metrics
from air.training.processes import ALONE
from air.training.random_state import joined_states, random_states, restore_noise, seed_noise
from tests.helpers.several_processes import CASES, SIZE, work
from tests.helpers.training_process import start, wait_for

CPU = torch.device("cpu")
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What each process took away, by rank."""
    folder = tmp_path_factory.mktemp("several")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    torch.multiprocessing.spawn(work, (port, folder), SIZE)
    return [torch.load(folder / f"{rank}.pt") for rank in range(SIZE)]


@pytest.mark.parametrize("case", CASES)
def test_two_shares_take_the_step_of_the_whole_batch(results, case):
    """Same noise fed: same parts, same norm before clipping, same weights after each step."""
    alone, averages_alone = results[0]["alone"][case]
    together, averages = results[0]["together"][case]
    for one, two in zip(alone, together, strict=True):
        assert two["parts"] == pytest.approx(one["parts"], rel=1e-4, abs=1e-4)
        assert two["norm"] == pytest.approx(one["norm"], rel=1e-4)
        for name, weights in one["weights"].items():
            assert torch.allclose(two["weights"][name], weights, rtol=1e-5, atol=1e-6), name
    assert any(one["norm"] > 5 for one in alone)  # clipping did something
    assert averages.keys() == averages_alone.keys()
    for name, value in averages_alone.items():
        assert torch.allclose(averages[name], value, rtol=1e-4, atol=1e-4)
    assert bool(averages) == case.startswith("average")


@pytest.mark.parametrize("case", CASES)
def test_all_processes_hold_the_same_weights_bit_for_bit(results, case):
    (one, _), (two, _) = (result["together"][case] for result in results)
    for a, b in zip(one, two, strict=True):
        assert a["parts"] == b["parts"]
        for name, weights in a["weights"].items():
            assert torch.equal(weights, b["weights"][name])


def test_what_one_process_wishes_all_know(results):
    for result in results:
        assert [step["stop"] for step in result["together"]["marginal"][0]] == [False, False, True]
        assert result["highest"] == 15
        assert result["by_first"] == 0


def test_processes_draw_different_noise(results):
    first, second = results[0]["states"]
    assert not torch.equal(first["cpu"], second["cpu"])
    assert results[1]["states"] == []


def test_noise_goes_on_with_as_many_processes_and_starts_anew_with_others(caplog):
    states = []
    for rank in range(2):
        seed_noise(0, 0, rank)
        states.append(random_states(CPU))
    saved = joined_states(states)
    assert saved.keys() == {"cpu", "cpu-1"}
    restore_noise(saved, CPU, rank=1, size=2, seed=0, iteration=7)
    assert torch.equal(torch.get_rng_state(), states[1]["cpu"])
    assert not caplog.text
    drawn = set()
    for size, rank in ((1, 0), (3, 0), (3, 2)):
        restore_noise(saved, CPU, rank=rank, size=size, seed=0, iteration=7)
        drawn.add((rank, torch.rand(1).item()))
        assert f"written by 2 processes and is resumed by {size}" in caplog.text
    assert len(drawn) == 2
    assert not {value for _, value in drawn} & {torch.rand(1).item()}


def test_batches_that_cannot_be_shared_are_refused():
    config = compose_config(("experiment=smoke", "train.batch_size=64"))
    assert config.shared_by(4).sleep.batch_size == config.sleep.batch_size // 4
    with pytest.raises(ConfigError, match=r"train.batch_size: must be a multiple of .* 3, got 64"):
        config.shared_by(3)
    config = compose_config(("train.batch_size=60", "sleep.batch_size=64"))
    with pytest.raises(ConfigError, match=r"sleep.batch_size: must be a multiple of .* 3, got 64"):
        config.shared_by(3)


def test_one_process_exchanges_nothing():
    parts = {"likelihood": torch.tensor(1.0)}
    assert ALONE.sum_step([], parts, True) == (parts, True)
    assert ALONE.gather(3) == [3]
    assert ALONE.by_first(lambda: 3) == ALONE.highest(3) == 3


# --- the command line -----------------------------------------------------------------------------


def ended(process):
    return process.communicate(timeout=240)[0]


def children(process):
    import psutil

    return [child.pid for child in psutil.Process(process.pid).children()]


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        ["train.step=recorded"],
        ["inference=reinforce", "baseline=neural", "sleep=none", "train.step=recorded"],
        ["inference=reinforce", "baseline=moving_average", "sleep.codes=posterior"],
        ["model.scale_prior_mean=auto", "model.pos_prior_sd=auto"],
    ],
)
def test_one_writer_and_other_numbers_of_processes(train_command, tmp_path, settings):
    overrides = [*train_command.smoke, "train.num_pictures=0", *settings]
    process = start(tmp_path, *overrides, under=TORCHRUN)
    output = ended(process)
    assert process.returncode == 0, output
    assert output.count("iteration 20/20") == output.count("held-out count accuracy: ") == 1
    (run_dir,) = tmp_path.glob("outputs/runs/*/*")  # one folder, though each has a random token
    iterations = [line["iteration"] for line in read_metrics(run_dir / "metrics.jsonl")]
    assert iterations == [5, 10, 10, 15, 20, 20]
    assert read_result(run_dir).status == "finished"

    text = train_command(f"resume={run_dir}", "train.num_iterations=30").stdout
    assert "written by 2 processes and is resumed by 1: each draws new noise" in text
    assert read_latest(run_dir)[1].random_states.keys() == {"cpu"}

    process = start(tmp_path, f"resume={run_dir}", "train.num_iterations=40", under=TORCHRUN)
    output = ended(process)
    assert process.returncode == 0, output
    assert "written by 1 process and is resumed by 2" in output
    last = read_latest(run_dir)[1]
    assert last.iteration == 40
    assert last.random_states.keys() == {"cpu", "cpu-1"}
    assert all(len(value) == 64 for value in last.moving_averages.values())


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_ends_the_run_with_a_usable_checkpoint(train_command, tmp_path, victim):
    run_dir = tmp_path / "run"
    endless = ["train.num_pictures=0", "train.num_iterations=100000", "train.eval_every=100000"]
    process = start(
        tmp_path, *train_command.smoke, *endless, f"hydra.run.dir={run_dir}", under=TORCHRUN
    )
    wait_for((run_dir / "checkpoints" / "00000020.pt").exists, process)
    os.kill(children(process)[victim], signal.SIGKILL)
    output = ended(process)
    assert process.returncode == 1, output
    assert output.count("error: another process of this run has ended") == 1
    kept = read_latest(run_dir)[1].iteration
    train_command(f"resume={run_dir}", f"train.num_iterations={kept + 3}")
    assert read_latest(run_dir)[1].iteration == kept + 3


@pytest.mark.slow
def test_a_signal_to_one_process_stops_all_at_the_same_iteration(train_command, tmp_path):
    run_dir = tmp_path / "run"
    endless = ["train.num_pictures=0", "train.num_iterations=100000", "train.eval_every=100000"]
    process = start(
        tmp_path, *train_command.smoke, *endless, f"hydra.run.dir={run_dir}", under=TORCHRUN
    )
    wait_for((run_dir / "checkpoints" / "00000020.pt").exists, process)
    os.kill(children(process)[1], signal.SIGTERM)
    output = ended(process)
    assert output.count("stopped by SIGTERM at iteration") == 1
    result = read_result(run_dir)
    assert result.status == "stopped"
    assert read_latest(run_dir)[1].iteration == result.iteration


@pytest.mark.slow
@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("train.batch_size=63", "error: train.batch_size: must be a multiple of"),
        ("--multirun", "error: --multirun: a sweep must be run by one process, got 2"),
        ("model.num_step=3", "error: model.num_step: no such key"),
    ],
)
def test_what_is_wrong_is_said_once_and_leaves_nothing(train_command, tmp_path, override, line):
    process = start(tmp_path, *train_command.smoke, override, under=TORCHRUN)
    output = ended(process)
    assert process.returncode == 1
    assert output.count(line) == 1, output
    assert not list(tmp_path.glob("outputs/*s/*/*"))
