"""The options that `conf/` offers, and the values that they compose to."""

import yaml

from air.cli.compose import compose_values
from tests.helpers.repository import REPOSITORY

CONF = REPOSITORY / "conf"
# Hydra's own presets and W&B's sweeps have tests of their own.
GROUPS = sorted(
    {path.name for path in CONF.iterdir() if path.is_dir()}
    - {"hydra", "reproduction", "wandb_sweep"}
)


def needs(option):
    """Return what else must be given for an option: what it cannot go without."""
    of_users = ("data=npz", "data=shards", "data=images", "experiment=images")
    if option == "likelihood=bernoulli":
        return ["compositing=over"]
    return ["data.path=x"] if option in of_users else []


def composed(*overrides):
    """Return the plain values of a configuration."""
    return compose_values(overrides)


def values_of(command):
    """Return what `conf/COMMAND.yaml` itself sets, without what it tells Hydra."""
    values = yaml.safe_load((CONF / f"{command}.yaml").read_text())
    return {name: value for name, value in values.items() if name not in ("defaults", "hydra")}
