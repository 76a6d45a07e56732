"""Configurations composed in Python, as the command line would compose them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from air.cli.command import one_line, plain_values
from air.cli.overrides import CONF, readable_overrides
from air.config.parsing import parse_config
from air.config.schema import Config
from air.errors import ConfigError


@contextlib.contextmanager
def hydra_on_conf() -> Iterator[ConfigLoader]:
    """Have Hydra read `conf/`, also within a command that it started itself."""
    outer = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            yield GlobalHydra.instance().config_loader()
    finally:
        GlobalHydra.instance().hydra = outer


def compose_config(overrides: Sequence[str] = ()) -> Config:
    """Return the configuration that `scripts/train.py` would run.

    Args:
        overrides: `GROUP=OPTION` and `KEY=VALUE`.

    Raises:
        ConfigError: one of them is wrong.
    """
    return parse_config(compose_values(overrides))


def compose_values(overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Return the plain values of a configuration, whether or not it could be run.

    Args:
        overrides: `GROUP=OPTION` and `KEY=VALUE`.

    Raises:
        ConfigError: they name what there is not.
    """
    try:
        with hydra_on_conf():
            return plain_values(compose("config", readable_overrides(overrides)))
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(one_line(error)) from None
