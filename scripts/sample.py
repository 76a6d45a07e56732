"""Draw scenes from a trained model's prior; see `conf/sample.yaml` for what can be asked."""

import hydra
from omegaconf import DictConfig

from air.cli.command import one_line_errors, plain_values, run_command, where_started
from air.config.parsing import parse_as
from air.pictures.config import SampleConfig


@hydra.main(version_base="1.3", config_path="../conf", config_name="sample")
@where_started
def main(composed: DictConfig) -> None:
    """Check the configuration, then draw."""
    with one_line_errors():
        config = parse_as(SampleConfig, plain_values(composed))

        # Imports torch, and so comes only once the configuration is known to be good.
        from air.pictures.gallery import sample_run

        sample_run(config)


if __name__ == "__main__":
    run_command(main, SampleConfig)
