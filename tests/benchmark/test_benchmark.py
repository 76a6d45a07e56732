"""The benchmark: its arithmetic against known cases, its command as a subprocess."""

import json
import signal
import subprocess
import sys

import pytest
import torch

import air.acceleration.black_pixels  # noqa: F401 (it makes its operations known)
from air.benchmark.accuracy import count_accuracy, measure_accuracy
from air.benchmark.agreement import measure_agreement
from air.benchmark.contention import busy_process, measure_contention, num_cores, thread_counts
from air.benchmark.cost import measure_cost
from air.benchmark.growth import measure_growth
from air.benchmark.limits import measure_limits
from air.benchmark.modes import PRESETS, measure_modes
from air.benchmark.timing import Timing, interleaved
from air.benchmark.workloads import build_trainer, check_checkout, example_data, our_step
from air.cli.compose import compose_config
from air.data.scenes import Data, Scenes
from air.errors import ConfigError, DataError
from tests.helpers.in_process import run_script
from tests.helpers.repository import REPOSITORY

SMALL = ("tracking=none", "train.batch_size=4", "sleep.batch_size=4")


def test_ratio_is_taken_turn_by_turn():
    slow, fast = Timing((2.0, 40.0, 6.0)), Timing((1.0, 10.0, 3.0))
    assert slow.ratio(fast) == 2.0
    assert slow.median == 6.0
    assert Timing((1.0, 2.0, 3.0, 4.0, 5.0)).quartiles == (2.0, 4.0)
    assert Timing((1.5,)).quartiles == (1.5, 1.5)


def test_functions_take_turns_after_their_warm_up():
    calls = []
    times = interleaved({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 2, 1)
    assert "".join(calls) == "ababab"
    assert [len(timing.seconds) for timing in times.values()] == [2, 2]


def test_cost_of_a_product():
    a, b = torch.ones(20, 30), torch.ones(30, 50)
    cost = measure_cost(lambda: torch.mm(a, b))
    assert cost.flops == 2 * 20 * 30 * 50
    assert cost.bytes == 4 * (20 * 30 + 30 * 50 + 20 * 50)
    assert cost.peak_bytes == 4 * 20 * 50


def test_cost_of_a_product_that_skips_zeros():
    dark = torch.zeros(20, 30)
    dark[3, 7] = dark[3, 9] = dark[11, 7] = 0.5
    operations = torch.ops.air

    def product():
        return operations.weighted_sums(*operations.find_nonzero(dark), torch.ones(30, 50))

    assert measure_cost(product).flops == 2 * 3 * 50


def test_peak_is_what_lives_at_one_time():
    def chain():
        value = torch.ones(1000)
        for _ in range(5):
            value = value + 1  # the one before is freed once the next is there
        return value

    assert measure_cost(chain).peak_bytes == 2 * 4000


@pytest.mark.slow
def test_embedding_costs_the_same_whatever_num_steps_is():
    """More steps add the same operations each: what is left at none is the embedding's."""
    flops = [
        measure_cost(
            our_step(compose_config((*SMALL[:2], "sleep=none", f"model.num_steps={t}")))
        ).flops
        for t in (1, 2, 3)
    ]
    assert flops[2] - flops[1] == pytest.approx(flops[1] - flops[0], rel=0.05)
    assert flops[0] > 2 * (flops[1] - flops[0])


@pytest.mark.slow
def test_growth_ratios_start_at_one(data_root):
    rows = measure_growth(1, SMALL, {"model.num_steps": (1, 2), "data.canvas_size": (30, 60)})
    assert [row.size_ratio for row in rows] == [1, 2, 1, 4]
    assert [row.time_ratio for row in rows[::2]] == [1, 1]
    assert all(1 <= row.memory_ratio < row.size_ratio for row in rows[1::2])


def test_accuracy_is_that_of_infer_on_the_held_out_images():
    config = compose_config((*SMALL, "train.num_iterations=3"))
    data = example_data(config.data, 40)
    images = data.test.images
    model = build_trainer(config, data).air
    truth = model.infer(images).count.clone()
    truth[:10] += 1
    scenes = Scenes(images, truth, None, None)
    assert count_accuracy(model, scenes) == 0.75
    (row,) = measure_accuracy([config], Data(train=scenes, test=scenes), 0.0, 2)
    assert [each[0] for each in row.evaluations] == [2, 3]
    assert row.iterations_to_target == 2
    assert row.seconds_to_target == row.evaluations[0][1] < row.seconds
    with pytest.raises(DataError, match="counts"):
        count_accuracy(model, Scenes(images, None, None, None))


def test_compose_config_is_that_of_the_command_line():
    assert compose_config(("model.num_steps=5",)).model.num_steps == 5
    with pytest.raises(ConfigError, match=r"model\.nm_steps"):
        compose_config(("model.nm_steps=5",))


def test_contention_has_a_row_for_each_number_of_threads():
    before = torch.get_num_threads()
    config = compose_config((*SMALL, "train.step=eager"))
    rows = measure_contention(config, rounds=1, steps_in_a_turn=1)
    assert [row.threads for row in rows] == thread_counts(num_cores())
    assert rows[0].speedup == rows[0].speedup_beside_one == 1
    for row in rows:
        assert row.slowdown == pytest.approx(row.beside_one / row.alone)
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("cores", "counts"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (64, [1, 2, 4, 8, 16, 32, 64])]
)
def test_thread_counts(cores, counts):
    assert thread_counts(cores) == counts


def test_every_way_of_running_a_step_is_timed():
    presets = {"quickstart": (), "average": ("inference=reinforce", "baseline=moving_average")}
    quickstart, average = measure_modes(1, None, SMALL, presets)
    assert quickstart.batch == 4
    assert quickstart.recorded is not None
    fastest = min(quickstart.eager, quickstart.recorded)
    if not torch.cuda.is_available():
        assert quickstart.images_per_second == pytest.approx(4e3 / fastest)
        assert quickstart.graph is None
    assert average.recorded is average.graph is None  # it cannot be recorded


def test_a_preset_that_does_not_compose_is_left_out(caplog):
    assert list(measure_modes(1, None, SMALL, {"paper": ("experiment=paper",)})) == []
    assert "paper: left out, sleep.batch_size" in caplog.text


def test_a_device_agrees_with_the_cpu():
    presets = {name: PRESETS[name] for name in ("quickstart", "quickstart, reinforce")}
    for row in measure_agreement(presets, SMALL):
        assert row.loss < 1e-4
        assert row.gradient < 1e-2
        assert row.count_probs < 1e-4
        assert row.counts == 1


def test_limits_end_where_patience_does():
    rows = list(measure_limits(SMALL, {"train.batch_size": (4, 8)}, rounds=1))
    assert [row.value for row in rows] == [4, 8]
    for row in rows:
        assert row.images_per_second == pytest.approx(1e3 * row.value / row.milliseconds)


def test_the_busy_process_ends_with_its_block():
    with busy_process() as process:
        process.send_signal(signal.SIGSTOP)
        assert process.poll() is None
    assert process.returncode == -signal.SIGKILL


def test_a_folder_without_the_example_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"--compare: must be a checkout of Pyro's repository"):
        check_checkout(tmp_path)


def _run(*arguments):
    return subprocess.run(
        [sys.executable, str(REPOSITORY / "scripts" / "benchmark.py"), *arguments],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.mark.slow
def test_command_prints_tables_and_writes_json(tmp_path):
    file = tmp_path / "figures.json"
    result = _run("inference", "train.batch_size=8", "--rounds", "1", "--json", str(file))
    assert result.returncode == 0, result.stderr
    assert "## inference" in result.stdout
    assert "| images" in " ".join(result.stdout.split())
    figures = json.loads(file.read_text())
    assert set(figures) == {"machine", "inference"}
    assert figures["inference"][0]["images"] == 10_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["speed"],
            "what: must be among steps, growth, start, inference, contention, accuracy, modes, "
            "agreement, limits, gpu, got speed",
        ),
        (["steps", "model.nm_steps=3"], "model.nm_steps: no such key"),
        (["growth", "train.step=compiled"], "train.step: must not be compiled for steps"),
        (["steps", "--rounds", "0"], "must be 1 or more, got 0"),
        (["steps", "--compare", "nowhere"], "--compare: must be a checkout of Pyro's repository"),
        (["--seeds", "a"], "invalid _seeds value"),
        (["--colour"], "--colour"),
    ],
)
def test_bad_input_is_one_line(arguments, message):
    result = run_script("benchmark", *arguments)
    assert result.returncode == 1
    assert result.stdout == ""
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
