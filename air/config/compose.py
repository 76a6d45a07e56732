"""Configurations composed in Python, as the command line would compose them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from air.config.command import one_line, plain_values
from air.config.parsing import parse_config
from air.config.schema import Config
from air.errors import ConfigError

CONF = Path(__file__).parents[2] / "conf"  # the commands of this repository run beside it


def compose_config(overrides: Sequence[str] = ()) -> Config:
    """Return the configuration that `scripts/train.py` would run.

    Args:
        overrides: `GROUP=OPTION` and `KEY=VALUE`.

    Raises:
        ConfigError: one of them is wrong.
    """
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return parse_config(plain_values(compose("config", list(overrides))))
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(one_line(error)) from None
