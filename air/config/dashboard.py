"""What `scripts/dashboard.py` lays out; values are in `conf/dashboard.yaml`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from air.config.fields import strict

Name = Annotated[str, Field(min_length=1)]


@strict
class DashboardConfig:
    """A saved view of a project on W&B."""

    project: Name
    entity: Name | None
    name: Name
    save: bool
