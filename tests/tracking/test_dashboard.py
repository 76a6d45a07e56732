"""`scripts/dashboard.py`, as far as it goes without an account."""

import os
import re
import subprocess
import sys

import pytest
import wandb

from air.cli.compose import compose_config
from air.config.parsing import parse_as
from air.errors import DashboardError
from air.tracking.config import DashboardConfig
from air.tracking.wandb_tracker import CONFUSION_FIELDS
from air.tracking.workspace import COLUMNS, RANKED_BY, SETTINGS, build_workspace, panels, save
from air.training.run import train
from tests.helpers.in_process import run_script
from tests.helpers.repository import REPOSITORY
from tests.helpers.wandb_reader import offline_runs, read_offline_run

KEY = "0123456789" * 4
VALUES = {"project": "air", "entity": None, "name": "All runs", "save": False}

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:wandb_workspaces")


def dashboard(*overrides, env=None, cwd=None):
    return subprocess.run(
        [sys.executable, str(REPOSITORY / "scripts" / "dashboard.py"), *overrides],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
        cwd=cwd,
        env={**os.environ, **(env or {})},
    )


@pytest.fixture(scope="module")
def logged(data_root, tmp_path_factory):
    """A run kept offline, with every term of the objective: what W&B would have of it."""
    folder = tmp_path_factory.mktemp("dashboard") / "run"
    tracking = ("tracking=wandb", "tracking.mode=offline", "train.num_pictures=2")
    train(
        compose_config(
            (
                "experiment=smoke",
                f"data.root={data_root}",
                "train.step=eager",
                "sleep=dreams",
                "inference=iwae",
                "inference.num_particles=2",
                "inference.warm_up_iterations=5",
                *tracking,
            )
        ),
        folder,
        [],
    )
    wandb.teardown()
    (kept,) = offline_runs(folder)
    return read_offline_run(kept)


@pytest.fixture
def workspace():
    return build_workspace(parse_as(DashboardConfig, VALUES))


def test_every_panel_shows_what_a_run_logs(workspace, logged):
    # Tables and pictures have parts, "val/confusion._type", beside which there is no plain name.
    names = {re.sub(r"\._?\w+$", "", name) for line in logged.history for name in line}
    for section, kind, metrics in panels(workspace):
        for metric in metrics.split(", "):
            if metric.startswith("/"):
                assert [name for name in names if re.fullmatch(metric.strip("/"), name)], metric
            elif metric not in SETTINGS:  # see below
                assert metric in names, (section, kind, metric)


def test_the_sections_are_all_there_and_open(workspace):
    names = [section.name for section in workspace.sections]
    assert names == ["counts", "objective", "reconstructions", "speed", "sweeps", "prior"]
    assert all(section.is_open and section.panels for section in workspace.sections)


def test_runs_are_ranked_by_what_their_summary_holds(workspace, logged):
    (order,) = workspace.runset_settings.order
    assert (order.item.name, order.ascending) == (RANKED_BY, False)
    assert all(isinstance(logged.summary[name], int | float) for name in COLUMNS)
    columns = workspace.runset_settings.pinned_columns[1:]
    assert columns[: len(COLUMNS)] == [f"summary:{name}" for name in COLUMNS]
    assert columns[len(COLUMNS) :] == [
        "config:attention.value.kind",
        "config:inference.value.kind",
        "config:prior.value.kind",
        "config:sleep.value.kind",
        "config:optim.value.lr",
        "config:seed.value",
    ]


def test_the_settings_that_sweeps_vary_are_in_a_runs_configuration(logged):
    for name in SETTINGS:
        found = logged.config
        for part in name.split("."):
            found = found[part]
        assert found is not None


def test_the_chart_of_counts_is_drawn_from_columns_that_are_logged(workspace, logged):
    (chart,) = [
        panel
        for section in workspace.sections
        for panel in section.panels
        if type(panel).__name__ == "CustomChart"
    ]
    assert chart.chart_fields == CONFUSION_FIELDS
    assert chart.query["summaryTable"]["tableKey"] + ".ncols" in logged.history[-1]
    assert logged.history[-1]["val/confusion_chart_table.ncols"] == len(CONFUSION_FIELDS)


def test_what_is_sent_says_the_same(workspace, monkeypatch):
    sent = []

    def upsert(view):
        sent.append(view)
        return {"upsertView": {"view": {"name": "nw-0123456789a-v", "id": "1"}}}

    monkeypatch.setattr("wandb_workspaces.workspaces.internal.upsert_view2", upsert)
    monkeypatch.setattr(
        "wandb_workspaces.workspaces.interface.get_app_url", lambda api: "https://server.example"
    )
    monkeypatch.setattr(wandb, "Api", lambda: None)
    workspace.entity = "somebody"
    assert save(workspace) == "https://server.example/somebody/air?nw=0123456789a"
    spec = sent[0].spec.model_dump_json(by_alias=True)
    for _, _, metrics in panels(workspace):
        for metric in metrics.split(", "):
            group, dot, name = metric.partition(".")
            nested = f"config:{group}.value{dot}{name}" if metric in SETTINGS else metric
            assert nested.strip("/").replace("\\", "\\\\") in spec
    assert '"xAxis":"iteration"' in spec


def test_the_layout_is_printed_without_an_account(tmp_path):
    result = dashboard("save=false", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert re.search(r"^reconstructions +MediaBrowser +val/reconstructions$", result.stdout, re.M)
    assert "runs: by best/count_acc" in result.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], "save: needs W&B online, which is offline here; run `wandb login` or set"),
        (["save=maybe"], "save: must be a valid boolean, got 'maybe'"),
        (["save=false", "project="], "project: must"),
        (["save=false", "name='\U0001f600'"], "name: "),
        (["save=false", "projct=air"], "projct: no such key; did you mean project?"),
    ],
)
def test_bad_input_is_one_line(overrides, message):
    result = run_script("dashboard", *overrides)
    assert result.returncode == 1
    assert result.stderr.startswith(f"error: {message}"), result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""


def test_a_key_is_not_used_where_wandb_is_switched_off():
    result = dashboard(env={"WANDB_API_KEY": KEY, "WANDB_MODE": "offline"})
    assert result.returncode == 1
    assert result.stderr.startswith("error: save: needs W&B online, which is offline here")


def test_what_the_server_answers_is_one_line(workspace, monkeypatch):
    def refuse(self):
        raise ValueError("permission\ndenied")

    monkeypatch.setattr(type(workspace), "save", refuse)
    workspace.entity = "somebody"
    with pytest.raises(DashboardError) as caught:
        save(workspace)
    assert str(caught.value) == "save: W&B did not save the dashboard: permission denied"
