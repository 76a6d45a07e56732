"""Measure a trained model; see `conf/evaluate.yaml` for what can be asked."""

import hydra
from omegaconf import DictConfig

from air.cli.command import one_line_errors, plain_values, run_command, where_started
from air.config.parsing import parse_as
from air.errors import needs_extra
from air.evaluation.config import EvaluateConfig


@hydra.main(version_base="1.3", config_path="../conf", config_name="evaluate")
@where_started
def main(composed: DictConfig) -> None:
    """Check the configuration, then measure, print and write."""
    with one_line_errors():
        config = parse_as(EvaluateConfig, plain_values(composed))

        # Imports torch, and so comes only once the configuration is known to be good.
        with needs_extra("evaluate"):
            from air.evaluation.evaluate_run import evaluate_run

        evaluate_run(config)


if __name__ == "__main__":
    run_command(main, EvaluateConfig)
