"""Lay out a dashboard of all runs on W&B; see `conf/dashboard.yaml` for what can be set."""

import hydra
from omegaconf import DictConfig

from air.cli.command import one_line_errors, plain_values, run_command, where_started
from air.config.parsing import parse_as
from air.tracking.config import DashboardConfig
from air.tracking.workspace import make_dashboard


@hydra.main(version_base="1.3", config_path="../conf", config_name="dashboard")
@where_started
def main(composed: DictConfig) -> None:
    """Check the configuration, then lay the dashboard out, print it, and save it if asked."""
    with one_line_errors():
        make_dashboard(parse_as(DashboardConfig, plain_values(composed)))


if __name__ == "__main__":
    run_command(main, DashboardConfig)
