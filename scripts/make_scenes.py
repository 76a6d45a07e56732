"""Draw scenes that need not fit in memory; see `conf/make_scenes.yaml` for what can be asked."""

import sys

import hydra
from omegaconf import DictConfig

from air.cli.command import one_line_errors, plain_values, run_command, where_started
from air.config.parsing import parse_as
from air.data.config import MakeScenesConfig


@hydra.main(version_base="1.3", config_path="../conf", config_name="make_scenes")
@where_started
def main(composed: DictConfig) -> None:
    """Check the configuration, then draw what is missing of the folder."""
    with one_line_errors():
        config = parse_as(MakeScenesConfig, plain_values(composed))

        # Imports torch, and so comes only once the configuration is known to be good.
        from air.data.make_shards import make_shards

        try:
            make_shards(config)
        except KeyboardInterrupt:
            print("stopped; the same command resumes", file=sys.stderr)
            sys.exit(130)


if __name__ == "__main__":
    run_command(main, MakeScenesConfig)
