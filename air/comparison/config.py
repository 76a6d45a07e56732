"""What `scripts/compare.py` compares, and by what; values are in `conf/compare.yaml`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from air.fields import NonEmptyText, UserPath, strict
from air.pictures.config import Formats


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


@strict
class CompareConfig:
    """A comparison of runs."""

    runs: Annotated[list[UserPath], BeforeValidator(_as_list), Field(min_length=1)]
    metric: NonEmptyText | None
    goal: Literal["max", "min"] | None
    others: list[NonEmptyText]
    output: UserPath | None
    pictures: list[Literal["curves", "effects"]]
    formats: Formats
