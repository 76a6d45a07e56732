"""What `scripts/make_scenes.py` draws; values are in `conf/make_scenes.yaml`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from air.config.data import MultiMNISTConfig, MultiMNISTFullConfig
from air.config.fields import PositiveInt, UserPath, strict


@strict
class MakeScenesConfig:
    """A folder of scenes that `data=shards` reads."""

    out: UserPath
    num_train: PositiveInt  # scenes
    num_test: PositiveInt
    scenes_per_file: PositiveInt
    data: Annotated[MultiMNISTConfig | MultiMNISTFullConfig, Field(discriminator="kind")]
