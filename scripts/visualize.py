"""Draw pictures of a trained model; see `conf/visualize.yaml` for what can be asked."""

import hydra
from omegaconf import DictConfig

from air.cli.command import one_line_errors, plain_values, run_command, where_started
from air.config.parsing import parse_as
from air.pictures.config import VisualizeConfig


@hydra.main(version_base="1.3", config_path="../conf", config_name="visualize")
@where_started
def main(composed: DictConfig) -> None:
    """Check the configuration, then infer and draw."""
    with one_line_errors():
        config = parse_as(VisualizeConfig, plain_values(composed))

        # Imports torch, and so comes only once the configuration is known to be good.
        from air.pictures.gallery import visualize_run

        visualize_run(config)


if __name__ == "__main__":
    run_command(main, VisualizeConfig)
