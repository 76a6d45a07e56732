"""Measure the gradients of estimators at fixed parameters; see `conf/gradients.yaml`."""

import hydra
from omegaconf import DictConfig

from air.benchmark.config import GradientsConfig
from air.cli.command import one_line_errors, plain_values, run_command, where_started
from air.config.parsing import parse_as


@hydra.main(version_base="1.3", config_path="../conf", config_name="gradients")
@where_started
def main(composed: DictConfig) -> None:
    """Check the configuration, then measure, print, draw and write."""
    with one_line_errors():
        config = parse_as(GradientsConfig, plain_values(composed))

        # Imports torch, and so comes only once the configuration is known to be good.
        from air.benchmark.gradients import compare_gradients

        compare_gradients(config)


if __name__ == "__main__":
    run_command(main, GradientsConfig)
