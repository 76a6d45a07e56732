"""Compare runs and sweeps by their folders; see `conf/compare.yaml` for what can be asked."""

import hydra
from omegaconf import DictConfig

from air.cli.command import one_line_errors, plain_values, run_command, where_started
from air.comparison.compare_runs import compare_runs
from air.comparison.config import CompareConfig
from air.config.parsing import parse_as


@hydra.main(version_base="1.3", config_path="../conf", config_name="compare")
@where_started
def main(composed: DictConfig) -> None:
    """Check the configuration, then read, print, draw and write."""
    with one_line_errors():
        compare_runs(parse_as(CompareConfig, plain_values(composed)))


if __name__ == "__main__":
    run_command(main, CompareConfig)
