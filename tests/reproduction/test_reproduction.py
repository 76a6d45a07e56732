"""Tables of results: what is kept of runs, what is written of it, and the command."""

import dataclasses
import re
import shlex
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from air.cli.compose import compose_config
from air.errors import ConfigError
from air.reproduction.archive import Archived, read_archive, write_archive
from air.reproduction.config import Published, Table
from air.reproduction.curves import draw_curves
from air.reproduction.report import after, markdown, rows_of, write_section
from air.reproduction.running import sweeps_of
from air.reproduction.tables import read_table, table_names
from tests.helpers.in_process import run_script
from tests.helpers.repository import REPOSITORY

TABLE = Table(
    title="Two priors",
    about="What they come to.",
    sweeps=["prior=constant,rising"],
    common="sleep=none",
    seeds=[3, 4],
    smoke="data=multi_mnist_small",
    evaluate={},
    columns={"val/count_accuracy": "counted right", "val/elbo": "ELBO"},
    success=0.6,
    after=[10.0],
    curve="val/count_accuracy",
    rows_by="",
    published=[
        Published("theirs", "90 %", "Somebody, 2020", beside="prior=rising"),
        Published("another model", "80 %", "Others, 2021", beside=""),
    ],
)


def run_of(prior, seed, accuracy, status="finished"):
    points = [
        {"iteration": 10, "seconds": 5.0, "val/count_accuracy": accuracy / 2},
        {"iteration": 20, "seconds": 9.0, "val/count_accuracy": accuracy - 0.1},
        {"iteration": 40, "seconds": 20.0, "val/count_accuracy": accuracy},
    ]
    metrics = {"val/count_accuracy": accuracy, "val/elbo": 600.0 + seed}
    setting = f"prior={prior} sleep=none"
    return Archived(setting, seed, status, 40, 20.0, "abc", "a CPU", metrics, points)


RUNS = [
    run_of("constant", 3, 0.5),
    run_of("constant", 4, 0.7),
    run_of("rising", 3, 0.9),
    run_of("rising", 4, 0.9, status="failed"),
]


def test_a_table_has_means_over_seeds_every_seed_and_what_others_report():
    lines = markdown(rows_of(RUNS, TABLE), TABLE).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    header, _, constant, rising, another = cells
    assert header == [
        *("setting", "counted right", "each seed", "success", "ELBO", "after 10 s", "seconds"),
        "elsewhere",
    ]
    assert constant[:4] == ["`prior=constant`", "60.00 ± 14.14 %", "50.00, 70.00", "1 of 2"]
    assert constant[4:] == ["603.5 ± 0.7", "50.00 ± 14.14 %", "20", ""]
    assert rising[:5] == ["`prior=rising`", "90.00 %", "90.00, failed", "1 of 2", "603.0"]
    assert rising[-1] == "theirs: 90 % (Somebody, 2020)"
    assert another == ["another model", *[""] * 6, "80 % (Others, 2021)"]


def test_after_some_seconds_is_the_last_evaluation_before():
    run = RUNS[2].as_run()
    found = [after(run, "val/count_accuracy", seconds) for seconds in (1, 5, 15, 1000)]
    assert found == [None, 0.45, pytest.approx(0.8), 0.9]


def test_curves_are_means_over_seeds_along_iterations_and_seconds():
    by_iteration, by_time = draw_curves(RUNS, "val/count_accuracy", "").axes
    for axis, along in ((by_iteration, [10, 20, 40]), (by_time, [5, 9, 20])):
        constant, rising = axis.lines
        assert constant.get_label() == "prior=constant"
        assert constant.get_xdata() == pytest.approx(along)
        assert constant.get_ydata() == pytest.approx([0.3, 0.5, 0.6])
        assert rising.get_ydata() == pytest.approx([0.45, 0.8, 0.9])
    rows = draw_curves(RUNS, "val/count_accuracy", "prior").axes
    assert [len(axis.lines) for axis in rows] == [1, 1, 1, 1]
    assert [axis.get_title() for axis in rows[::2]] == ["prior=constant", "prior=rising"]
    rows = draw_curves(RUNS, "val/count_accuracy", "sleep prior").axes
    assert rows[0].get_title() == "sleep=none prior=constant"
    assert draw_curves(RUNS, "val/other", "") is None


numbers = st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: float(f"{value:.7g}"))
words = st.text("abc=,. ", min_size=1, max_size=9).filter(str.strip)


@settings(max_examples=25)
@given(
    st.lists(
        st.builds(
            Archived,
            setting=words,
            seed=st.integers(0, 99),
            status=st.sampled_from(["finished", "failed"]),
            iterations=st.integers(0, 10**6),
            seconds=numbers,
            commit=st.just("abc+"),
            machine=st.just("2 x CPU, PyTorch 2"),
            metrics=st.dictionaries(st.sampled_from(["val/elbo", "x/y"]), numbers, min_size=1),
            curves=st.lists(
                st.fixed_dictionaries({"iteration": numbers, "seconds": numbers, "a": numbers}),
                max_size=3,
            ),
        ),
        max_size=4,
        unique_by=lambda run: run.key,
    )
)
def test_what_is_kept_of_runs_is_read_as_it_was_written(tmp_path_factory, runs):
    folder = tmp_path_factory.mktemp("archive")
    write_archive(folder, "table", runs)
    assert read_archive(folder, "table") == runs


def test_a_damaged_archive_is_named(tmp_path):
    write_archive(tmp_path, "table", RUNS)
    file = tmp_path / "table.csv"
    file.write_text(file.read_text().replace("finished,40", "finished,many"))
    with pytest.raises(ConfigError, match=rf"{file}: is damaged"):
        read_archive(tmp_path, "table")


def test_a_section_takes_its_own_place_and_leaves_the_rest_alone(tmp_path):
    file = tmp_path / "RESULTS.md"
    file.write_text("# Results\n\nBy hand.\n")
    write_section(file, "one", "first \\1")
    write_section(file, "two", "second")
    file.write_text(file.read_text() + "\nAlso by hand.\n")
    write_section(file, "one", "first, anew")
    assert file.read_text() == (
        "# Results\n\nBy hand.\n\n<!-- begin one -->\nfirst, anew\n<!-- end one -->\n"
        "\n<!-- begin two -->\nsecond\n<!-- end two -->\n\nAlso by hand.\n"
    )


@pytest.mark.parametrize("name", table_names())
def test_every_table_is_a_grid_with_metrics_that_are_logged_or_evaluated(name):
    table = read_table(name)
    jobs = [job for sweep in sweeps_of(table, smoke=False) for job in sweep.jobs]
    assert len(set(jobs)) == len(jobs)
    assert {seed for _, seed in jobs} == set(table.seeds)
    for metric in table.columns:
        logged = metric.startswith("val/")
        assert logged or any(metric.partition("/")[0] in words for words in table.evaluate.values())
    assert table.curve is None or table.curve in table.columns


def test_a_published_figure_stands_beside_a_run():
    stray = [Published("theirs", "90 %", "Somebody, 2020", beside="prior=linear")]
    with pytest.raises(ConfigError, match=r"published.beside: .* got 'prior=linear'"):
        sweeps_of(dataclasses.replace(TABLE, published=stray), smoke=False)


@pytest.mark.parametrize(
    ("changed", "key"),
    [({"sweeps": ["a='b"]}, "sweeps"), ({"evaluate": {"a": "b='c"}}, "evaluate")],
)
def test_a_command_line_with_an_open_quote_is_named(changed, key):
    with pytest.raises(ConfigError, match=rf"{key}: must be as on a command line, got "):
        sweeps_of(dataclasses.replace(TABLE, **changed), smoke=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", table_names())
def test_every_run_of_a_table_is_allowed(name):
    for sweep in sweeps_of(read_table(name), smoke=False):
        for setting in dict.fromkeys(setting for setting, _ in sweep.jobs):
            compose_config(shlex.split(setting))


def reproduce(folder, *words):
    return subprocess.run(
        [sys.executable, REPOSITORY / "scripts" / "reproduce.py", *words],
        cwd=folder,
        capture_output=True,
        text=True,
    )


SLOW_TABLES = [
    pytest.param(name, marks=[pytest.mark.slow] * (name != "time")) for name in table_names()
]


@pytest.mark.parametrize("name", SLOW_TABLES)
def test_a_small_version_is_trained_kept_and_written(tmp_path, monkeypatch, name):
    done = reproduce(tmp_path, name, "smoke=true")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "train.py -m" in done.stdout
    results = tmp_path / "outputs" / "reproduction" / "smoke"
    text, table = (results / "RESULTS.md").read_text(), read_table(name)
    jobs = [job for sweep in sweeps_of(table, smoke=True) for job in sweep.jobs]
    assert f"## {table.title}" in text
    assert f"{len(jobs)} runs, seeds {table.seeds[0]}" in text
    for link in re.findall(r"!\[.*\]\((.*)\)", text):
        assert (results / link).exists()
    kept = read_archive(results / "results", name)
    assert [run.key for run in kept] == jobs
    for run in kept:  # without two digits there are none to be added
        has_tasks = "data.held_out_counts=[2]" not in run.setting
        columns = {name for name in table.columns if has_tasks or "downstream/" not in name}
        assert columns == run.metrics.keys()
    # What is kept is enough: nothing is trained again.
    monkeypatch.chdir(tmp_path)
    again = run_script("reproduce", name, "smoke=true")
    assert again.returncode == 0, again.stderr
    assert "train.py" not in again.stdout
    assert (results / "RESULTS.md").read_text() == text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nothing",), "what: must be among ablations, .*, got nothing"),
        (("smoke=maybe",), "smoke: must be true or false, got maybe"),
        (("model.num_steps=2",), "model.num_steps: must be among smoke, train, hydra/launcher"),
        (("--fast",), "--fast: is not an option of this command"),
        (("tutorial", "train=false"), "2 runs have not ended, the first of them tutorial: "),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    done = run_script("reproduce", *words)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert re.match(f"error: {message}", line), line
    assert not list(tmp_path.iterdir())
