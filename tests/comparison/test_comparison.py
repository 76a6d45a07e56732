"""What runs come to beside one another: grouped by hand, computed by hand."""

import math

import numpy as np
import pytest

from air.cli.compose import compose_values
from air.comparison.effects import main_effects
from air.comparison.measures import (
    Metric,
    best_value,
    choose_metric,
    last_value,
    spread,
    training_seconds,
)
from air.comparison.plots import draw_curves, draw_effects
from air.comparison.reading import Run
from air.comparison.settings import group_runs
from air.comparison.table import make_rows, problems_table, settings_csv, settings_table
from air.errors import ConfigError
from tests.helpers.sweep_folders import accuracies

ACCURACY = Metric("val/count_accuracy", "max")
DEFAULTS = compose_values(["experiment=smoke"])


def a_run(folder, values, metrics, overrides=(), status="finished", problem=None):
    return Run(folder, status, list(overrides), values, metrics, None, problem, None)


def changed(**keys):
    """Return a configuration; `optim__lr=1` is optim.lr."""
    values = {k: dict(v) if isinstance(v, dict) else v for k, v in DEFAULTS.items()}
    for key, value in keys.items():
        group, _, name = key.rpartition("__")
        (values[group] if group else values)[name] = value
    return values


@pytest.fixture
def grid(tmp_path):
    """Four settings, of lr and of batch size, with two seeds each."""
    runs = []
    for lr, batch, means in (
        (0.1, 8, (1.0, 3.0)),
        (0.1, 16, (5.0, 7.0)),
        (0.2, 8, (11.0, 13.0)),
        (0.2, 16, (15.0, 17.0)),
    ):
        for seed, value in enumerate(means):
            values = changed(seed=seed, optim__lr=lr, train__batch_size=batch)
            overrides = [f"optim.lr={lr}", f"train.batch_size={batch}", f"seed={seed}"]
            folder = tmp_path / str(len(runs))
            runs.append(a_run(folder, values, accuracies(0.0, value), overrides))
    return runs


# --- measures -------------------------------------------------------------------------------------


def test_mean_and_standard_deviation_of_a_sample():
    assert spread([1.0, 2.0, 6.0]).mean == 3.0
    assert spread([1.0, 2.0, 6.0]).sd == pytest.approx(math.sqrt((4 + 1 + 9) / 2))
    assert spread([4.0, None]) == spread([4.0])
    assert spread([4.0]).sd is None
    assert spread([None]).mean is None


def test_last_best_and_time_of_a_run(tmp_path):
    lines = [
        {"iteration": 10, "train/loss": 3.0, "time/steps_per_second": 5.0},
        {"iteration": 10, "val/elbo": 7.0},
        {"iteration": 30, "train/loss": 2.0, "time/steps_per_second": 10.0},
        {"iteration": 30, "val/elbo": 4.0, "val/confusion": [[1]]},
    ]
    run = a_run(tmp_path, DEFAULTS, lines)
    assert last_value(run, "val/elbo") == 4.0
    assert best_value(run, Metric("val/elbo", "max")) == 7.0
    assert best_value(run, Metric("train/loss", "min")) == 2.0
    assert training_seconds(run) == 10 / 5 + 20 / 10
    assert last_value(run, "val/count_accuracy") is None
    assert best_value(run, ACCURACY) is None


def test_a_last_value_that_is_not_finite_is_not_passed_over(tmp_path):
    run = a_run(tmp_path, DEFAULTS, accuracies(0.5, None))
    assert math.isnan(last_value(run, "val/count_accuracy"))
    assert best_value(run, ACCURACY) == 0.5
    rows = make_rows(group_runs([run]), ACCURACY, [])
    assert math.isnan(rows[0].last["val/count_accuracy"].mean)


def test_the_metric_is_the_elbo_where_counts_are_not_known(tmp_path):
    elbo = a_run(tmp_path, DEFAULTS, [{"iteration": 1, "val/elbo": 1.0, "train/loss": 2.0}])
    counts = a_run(tmp_path, DEFAULTS, accuracies(0.5))
    nothing = a_run(tmp_path, DEFAULTS, [])
    assert choose_metric([elbo], None, None) == Metric("val/elbo", "max")
    assert choose_metric([elbo, counts], None, None) == ACCURACY
    assert choose_metric([nothing], None, None) == ACCURACY
    assert choose_metric([elbo], "train/loss", None) == Metric("train/loss", "min")
    assert choose_metric([elbo], "train/loss", "max") == Metric("train/loss", "max")
    with pytest.raises(ConfigError, match=r"metric: .*got train/los; did you mean train/loss"):
        choose_metric([elbo], "train/los", None)


# --- groups ---------------------------------------------------------------------------------------


def test_runs_that_differ_in_seed_and_place_alone_are_one_setting(tmp_path):
    tracking = {"kind": "wandb", "run_name": "other"}
    moved = changed(seed=1, data__root="elsewhere", device="cpu", tracking=tracking, resume="x")
    other = changed(data__seed=1)
    runs = [
        a_run(tmp_path / "b", moved, [], ["seed=1", "data.root=elsewhere", "device=cpu"]),
        a_run(tmp_path / "a", changed(), []),
        a_run(tmp_path / "c", other, []),
    ]
    grouping = group_runs(runs)
    assert [[run.seed for run in group.runs] for group in grouping.groups] == [[0, 1], [0]]
    assert grouping.columns == ["data.seed"]


def test_columns_are_what_the_command_line_set(tmp_path):
    runs = []
    for prior in ("constant", "linear"):
        for lr in ("0.1", "0.2"):
            overrides = ["experiment=smoke", f"prior={prior}", f"optim.lr={lr}"]
            runs.append(a_run(tmp_path / str(len(runs)), compose_values(overrides), [], overrides))
    # Another command line, which left the prior and the learning rate as they are.
    runs.append(a_run(tmp_path / "4", DEFAULTS, [], ["experiment=smoke"]))
    grouping = group_runs(runs)
    assert grouping.columns == ["prior", "optim.lr"]
    assert [list(group.cells.values()) for group in grouping.groups] == [
        ["constant", "0.1"],
        ["constant", "0.2"],
        ["linear", "0.1"],
        ["linear", "0.2"],
        ["default", "0.006"],
    ]
    assert {"prior.kind", "prior.anneal_to"} <= set(grouping.companions)


def test_what_no_command_line_set_still_tells_runs_apart(tmp_path):
    runs = [a_run(tmp_path / "a", changed(optim__lr=0.5), []), a_run(tmp_path / "b", DEFAULTS, [])]
    grouping = group_runs(runs)
    assert grouping.columns == ["optim.lr"]
    assert [group.cells["optim.lr"] for group in grouping.groups] == ["0.5", "0.006"]


def test_settings_that_always_change_together_all_have_a_column(tmp_path):
    runs = [
        a_run(
            tmp_path / str(lr),
            changed(optim__lr=lr, train__batch_size=batch),
            accuracies(value),
            [f"optim.lr={lr}", f"train.batch_size={batch}"],
        )
        for lr, batch, value in ((0.1, 8, 0.1), (0.2, 16, 0.3))
    ]
    grouping = group_runs(runs)
    assert grouping.columns == ["optim.lr", "train.batch_size"]
    assert [effect.share for effect in main_effects(grouping, ACCURACY).effects] == [None, None]


# --- the table ------------------------------------------------------------------------------------


def test_rows_are_sorted_and_only_finished_runs_are_in_the_means(grid, tmp_path):
    failed = a_run(
        tmp_path / "8",
        changed(seed=2, optim__lr=0.2, train__batch_size=16),
        accuracies(99.0),
        status="failed",
        problem="a | b",
    )
    grouping = group_runs([*grid, failed])
    rows = make_rows(grouping, ACCURACY, [])
    means = [row.last["val/count_accuracy"].mean for row in rows]
    assert means == [16.0, 12.0, 6.0, 2.0]
    assert rows[0].last["val/count_accuracy"].sd == pytest.approx(math.sqrt(2))
    assert rows[0].num_finished == 2
    text = settings_table(rows)
    assert "2 of 3      67%" in text.splitlines()[2]
    assert "0: 15.00, 1: 17.00, 2: failed" in text.splitlines()[2]
    assert "a \\| b" in problems_table(grouping, ACCURACY, "github")
    lines = settings_csv(rows).splitlines()
    assert lines[1].startswith(f"0.2,16,3,2,3,{2 / 3},16.0,1.4142135623")
    assert lines[1].endswith(",0 1 2,15.0 17.0 failed")
    least = make_rows(grouping, Metric("val/count_accuracy", "min"), [])
    assert [row.last["val/count_accuracy"].mean for row in least] == [2.0, 6.0, 12.0, 16.0]


def test_settings_without_a_finished_run_come_last(grid, tmp_path):
    values = changed(optim__lr=9.0)
    runs = [a_run(tmp_path / "9", values, [], ["optim.lr=9"], "running"), *grid]
    rows = make_rows(group_runs(runs), ACCURACY, ["val/elbo"])
    assert rows[-1].group.cells["optim.lr"] == "9.0"
    assert rows[-1].last["val/count_accuracy"].mean is None
    assert "0: running" in settings_table(rows).splitlines()[-1]


# --- effects --------------------------------------------------------------------------------------


def test_effects_in_a_full_grid_are_plain_means(grid):
    effects = main_effects(group_runs(grid), ACCURACY)
    lr, batch = effects.effects  # the larger first
    assert (lr.name, lr.levels) == ("optim.lr", ["0.1", "0.2"])
    assert lr.means.tolist() == pytest.approx([4.0, 14.0])
    assert batch.means.tolist() == pytest.approx([7.0, 11.0])
    # Squares around the mean of 9: 8 * 25 by lr, 8 * 4 by batch size, 8 * 1 by the seeds.
    assert lr.share == pytest.approx(200 / 240)
    assert batch.share == pytest.approx(32 / 240)
    assert effects.seed_share == pytest.approx(8 / 240)
    assert effects.seed_sd == pytest.approx(math.sqrt(2))


def test_a_hole_in_the_grid_does_not_bias_the_effects(grid):
    """Without the worst setting, plain means would make lr=0.1 look better than it is."""
    effects = main_effects(group_runs(grid[2:]), ACCURACY)
    means = {effect.name: effect.means for effect in effects.effects}
    assert np.diff(means["optim.lr"]) == pytest.approx(10.0)
    assert np.diff(means["train.batch_size"]) == pytest.approx(4.0)


def test_many_values_are_put_together(tmp_path):
    runs = [
        a_run(tmp_path / str(i), changed(optim__lr=i / 100), accuracies(float(i)))
        for i in range(1, 13)
    ]
    (effect,) = main_effects(group_runs(runs), ACCURACY).effects
    assert effect.levels == ["0.01 to 0.03", "0.04 to 0.06", "0.07 to 0.09", "0.1 to 0.12"]
    assert effect.means.tolist() == pytest.approx([2.0, 5.0, 8.0, 11.0])


def test_there_are_no_effects_where_nothing_varies(grid, tmp_path):
    assert main_effects(group_runs(grid[:2]), ACCURACY) is None
    same = [a_run(tmp_path / str(lr), changed(optim__lr=lr), accuracies(0.5)) for lr in (0.1, 0.2)]
    assert main_effects(group_runs(same), ACCURACY) is None


# --- pictures -------------------------------------------------------------------------------------


def test_curves_of_unequal_lengths(tmp_path):
    runs = [
        a_run(tmp_path / "a", changed(), accuracies(0.1, 0.2, 0.6)),
        a_run(tmp_path / "b", changed(seed=1), accuracies(0.3, 0.4), status="failed"),
        a_run(tmp_path / "c", changed(seed=2), [], status="missing"),
    ]
    rows = make_rows(group_runs(runs), ACCURACY, [])
    figure = draw_curves(rows, ["val/count_accuracy", "val/elbo"])
    (axis,) = figure.axes  # no run has an ELBO
    every, whole = axis.lines
    assert every.get_xdata().tolist() == [10, 20, 30]
    assert every.get_ydata().tolist() == pytest.approx([0.2, 0.3, 0.6])
    assert whole.get_ydata()[:2].tolist() == pytest.approx([0.2, 0.3])
    assert math.isnan(whole.get_ydata()[2])  # one of two runs: dotted alone
    (band,) = axis.collections
    vertices = {tuple(vertex) for vertex in band.get_paths()[0].vertices.round(6).tolist()}
    sd = math.sqrt(0.02)
    assert {(10.0, round(0.2 - sd, 6)), (10.0, round(0.2 + sd, 6)), (30.0, 0.6)} <= vertices
    assert draw_curves(make_rows(group_runs(runs[2:]), ACCURACY, []), ["val/elbo"]) is None


def test_all_settings_are_drawn_the_best_in_colour(tmp_path):
    runs = [
        a_run(tmp_path / str(i), changed(optim__lr=i / 100), accuracies(0.0, i / 100))
        for i in range(1, 13)
    ]
    grouping = group_runs(runs)
    figure = draw_curves(make_rows(grouping, ACCURACY, []), ["val/count_accuracy"])
    assert len(figure.axes[0].lines) == 24  # dotted and drawn through
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts[0] == "lr=0.12  (1)"
    assert len(texts) == 7
    assert texts[-1] == "the other 6 settings"
    panels = draw_effects(main_effects(grouping, ACCURACY), ACCURACY).axes
    assert [axis.get_title().split("\n")[0] for axis in panels] == ["optim.lr"]


def test_labels_of_many_settings_are_told_apart_and_fit(tmp_path):
    runs = []
    for i in range(1, 7):
        sizes = {f"model__{name}": i for name in ("num_steps", "window_size", "z_what_size")}
        more = {f"train__{name}": i for name in ("num_iterations", "log_every", "batch_size")}
        overrides = [f"{key.replace('__', '.')}={i}" for key in (*sizes, *more)]
        values = changed(**sizes, **more)
        runs.append(a_run(tmp_path / str(i), values, accuracies(i / 10), overrides=overrides))
    figure = draw_curves(make_rows(group_runs(runs), ACCURACY, []), ["val/count_accuracy"])
    (legend,) = figure.legends
    assert len({text.get_text() for text in legend.get_texts()}) == 6
    figure.canvas.draw()
    shown = legend.get_window_extent()
    assert shown.x0 >= 0
    assert shown.x1 <= figure.bbox.width
