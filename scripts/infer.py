"""Find the objects in a folder of image files; see `conf/infer.yaml` for what can be asked."""

import hydra
from omegaconf import DictConfig

from air.annotation.config import InferConfig
from air.cli.command import one_line_errors, plain_values, run_command, where_started
from air.config.parsing import parse_as


@hydra.main(version_base="1.3", config_path="../conf", config_name="infer")
@where_started
def main(composed: DictConfig) -> None:
    """Check the configuration, then infer and write."""
    with one_line_errors():
        config = parse_as(InferConfig, plain_values(composed))

        # Imports torch, and so comes only once the configuration is known to be good.
        from air.annotation.annotate import annotate

        annotate(config)


if __name__ == "__main__":
    run_command(main, InferConfig)
