"""A dashboard on W&B: its panels, and the order of its runs.

Only this module imports wandb-workspaces, and only when it is called.
"""

from __future__ import annotations

import logging
from typing import Any

from pydantic import ValidationError
from tabulate import tabulate

from air.errors import DashboardError, needs_extra
from air.tracking.config import DashboardConfig
from air.tracking.wandb_session import find_mode
from air.tracking.wandb_tracker import CONFUSION_CHART, CONFUSION_FIELDS

log = logging.getLogger(__name__)

RANKED_BY = "best/count_accuracy"
COLUMNS = (RANKED_BY, "best/iteration", "val/count_accuracy", "val/elbo")  # of the run table
# What sweeps vary most; nested in a run's configuration.
SETTINGS = ("attention.kind", "inference.kind", "prior.kind", "sleep.kind", "optim.lr", "seed")
_PARTS = ("likelihood", "kl_pres", "kl_where", "kl_what")
_TIMEOUT = 30  # seconds for an answer from the server


def make_dashboard(config: DashboardConfig) -> None:
    """Lay out a dashboard, print it, and save it if asked.

    Args:
        config: for which project, and whether to save it.

    Raises:
        MissingExtraError: wandb-workspaces is not installed.
        DashboardError: it is to be saved, and W&B is offline or refuses it.
        ConfigError: W&B finds an API key that is malformed, or `WANDB_MODE` is unknown.
    """
    if config.save:
        check_online()
    workspace = build_workspace(config)
    print(layout(workspace))
    if config.save:
        log.info("dashboard: %s", save(workspace))


def check_online() -> None:
    """Raise `DashboardError` if W&B is offline, for want of a key or because it is told to be."""
    mode = find_mode("auto")
    if mode != "online":
        raise DashboardError(
            f"save: needs W&B online, which is {mode} here; run `wandb login` or set "
            "WANDB_API_KEY and WANDB_MODE=online, or print the layout alone with save=false"
        )


def build_workspace(config: DashboardConfig) -> Any:
    """Return the dashboard, a `wandb_workspaces.workspaces.Workspace`; nothing is sent.

    Raises:
        MissingExtraError: wandb-workspaces is not installed.
        DashboardError: it does not accept the name.
    """
    with needs_extra("dashboard"):
        import wandb_workspaces.reports.v2 as wr
        import wandb_workspaces.workspaces as ws

    def lines(title: str, *metrics: str, **settings: Any) -> Any:
        return wr.LinePlot(title=title, x="iteration", y=list(metrics), **settings)

    both = ("train", "val")
    sections = {
        "counts": [
            lines("counted right", "val/count_accuracy"),
            lines("counted right by the best model so far", RANKED_BY),
            wr.ScalarChart(title="counted right by the best model", metric=RANKED_BY),
            lines("inferred number of objects", "val/inferred_count"),
            wr.CustomChart(
                query={"summaryTable": {"tableKey": "val/confusion_chart_table"}},
                chart_name=CONFUSION_CHART,
                chart_fields=CONFUSION_FIELDS,
                chart_strings={"title": "true against inferred number of objects"},
            ),
        ],
        "objective": [
            lines("ELBO", *(f"{data}/elbo" for data in both), title_y="nats an image"),
            lines("loss", "train/loss", title_y="nats an image"),
            lines("bound of several particles", "train/bound", title_y="nats an image"),
            *(
                lines(part, *(f"{data}/{part}" for data in both), title_y="nats an image")
                for part in _PARTS
            ),
            lines("dreams", "train/sleep", title_y="nats an image"),
            lines("learning rate", "optim/lr"),
            lines("what else changes with the iteration", metric_regex=r"inference/\w+"),
        ],
        "reconstructions": [
            wr.MediaBrowser(
                title="input and reconstruction",
                media_keys=["val/reconstructions"],
                num_columns=4,
                gallery_axis="step",
            )
        ],
        "speed": [lines("steps per second", "time/steps_per_second")],
        "sweeps": [
            wr.ParallelCoordinatesPlot(
                title="settings and what they come to",
                columns=[
                    *(wr.ParallelCoordinatesPlotColumn(wr.Config(name)) for name in SETTINGS),
                    *(
                        wr.ParallelCoordinatesPlotColumn(wr.SummaryMetric(name))
                        for name in ("val/elbo", RANKED_BY)
                    ),
                ],
            ),
            wr.ParameterImportancePlot(with_respect_to=RANKED_BY),
        ],
        # One line for each step, of which models have different numbers.
        "prior": [lines("trial probability of each step", metric_regex=r"prior/p_\d+")],
    }
    try:
        return ws.Workspace(
            entity=config.entity or "",
            project=config.project,
            name=config.name,
            sections=[
                ws.Section(name=name, panels=each, is_open=True) for name, each in sections.items()
            ],
            settings=ws.WorkspaceSettings(x_axis="iteration"),
            runset_settings=ws.RunsetSettings(
                order=[ws.Ordering(ws.Summary(RANKED_BY), ascending=False)],
                pinned_columns=[
                    *(f"summary:{name}" for name in COLUMNS),
                    *map(_config_column, SETTINGS),
                ],
            ),
        )
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(map(str, problem["loc"]))
        raise DashboardError(f"{key}: {problem['msg']}, got {problem['input']!r}") from None


def _config_column(name: str) -> str:
    """Return the column of a setting: W&B has a group's fields under "value"."""
    group, _, field = name.partition(".")
    return f"config:{group}.value.{field}" if field else f"config:{group}.value"


def panels(workspace: Any) -> list[tuple[str, str, str]]:
    """Return (section, kind of panel, metrics) of each panel; a pattern stands between slashes."""
    return [
        (section.name, type(panel).__name__, ", ".join(_metrics(panel)))
        for section in workspace.sections
        for panel in section.panels
    ]


def layout(workspace: Any) -> str:
    """Return the dashboard as a table of its panels, with the columns of its runs below."""
    table = tabulate(panels(workspace), headers=("section", "panel", "metrics"))
    (order,) = workspace.runset_settings.order
    columns = ", ".join(workspace.runset_settings.pinned_columns)
    direction = "ascending" if order.ascending else "descending"
    return f"{table}\n\nruns: by {order.item.name}, {direction}; columns: {columns}"


def save(workspace: Any) -> str:
    """Save a dashboard as a new view of its project.

    Args:
        workspace: as from `build_workspace`; without an entity it goes to W&B's default one.

    Returns:
        Its address.

    Raises:
        DashboardError: W&B does not answer, or refuses it.
    """
    import wandb

    try:
        workspace.entity = workspace.entity or wandb.Api(timeout=_TIMEOUT).default_entity
        return str(workspace.save().url)
    except Exception as error:  # of the network, of W&B, and of wandb-workspaces
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DashboardError(f"save: W&B did not save the dashboard: {reason}") from None


def _metrics(panel: Any) -> list[str]:
    match type(panel).__name__:
        case "LinePlot":
            return list(panel.y) or [f"/{panel.metric_regex}/"]
        case "ScalarChart":
            return [panel.metric]
        case "MediaBrowser":
            return list(panel.media_keys)
        case "ParallelCoordinatesPlot":
            return [column.metric.name for column in panel.columns]
        case "ParameterImportancePlot":
            return [panel.with_respect_to]
    return [panel.query["summaryTable"]["tableKey"]]  # of a chart made from a table
