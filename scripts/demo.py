"""Show a trained model at work on a local page; see `conf/demo.yaml` for what can be set."""

import sys

import hydra
from omegaconf import DictConfig

from air.cli.command import one_line_errors, plain_values, run_command, where_started
from air.config.parsing import parse_as
from air.demo.config import DemoConfig
from air.errors import needs_extra


@hydra.main(version_base="1.3", config_path="../conf", config_name="demo")
@where_started
def main(composed: DictConfig) -> None:
    """Check the configuration, then serve the page until Ctrl-C."""
    with one_line_errors():
        config = parse_as(DemoConfig, plain_values(composed))
        try:
            # Imports torch, and so comes only once the configuration is known to be good.
            with needs_extra("demo"):
                from air.demo.serving import serve

            serve(config)
        except KeyboardInterrupt:  # how a visitor leaves, and the only way
            sys.exit(130)


if __name__ == "__main__":
    run_command(main, DemoConfig)
