"""Train AIR on a configuration from `conf/`; see `python scripts/train.py --help`."""

from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig

from air.cli.command import (
    hydra_overrides,
    hydra_run_dir,
    in_sweep,
    one_line_errors,
    plain_values,
    resumed_values,
    run_command,
    where_started,
)
from air.cli.sweep import run_job
from air.config.parsing import parse_config
from air.runs.folder import discard_if_empty, read_config


@hydra.main(version_base="1.3", config_path="../conf", config_name="config")
@where_started
def main(composed: DictConfig) -> float:
    """Check the configuration, then train; the metric is what Hydra's sweepers maximise."""
    if in_sweep():
        return run_job(composed, _train)
    run_dir, overrides = hydra_run_dir(), hydra_overrides()
    try:
        with one_line_errors():
            values = plain_values(composed)
            if composed.resume is not None:
                values = resumed_values(read_config(run_dir), overrides)
            return _train(values, run_dir, overrides)
    finally:
        discard_if_empty(run_dir)


def _train(values: dict[str, Any], run_dir: Path, overrides: list[str]) -> float:
    config = parse_config(values)

    # Imports torch, and so comes only once the configuration is known to be good.
    from air.training.run import train

    return train(config, run_dir, overrides)


if __name__ == "__main__":
    run_command(main)
