"""The kinds of value that a configuration's fields have."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

NonLinearity = Literal["ReLU", "ELU", "GELU", "LeakyReLU", "SiLU", "Softplus", "Tanh"]

Count = Annotated[int, Field(ge=0)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # what NumPy's generators take
PositiveInt = Annotated[int, Field(ge=1)]
Real = Annotated[float, Field(allow_inf_nan=False)]
PositiveReal = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Probability = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
Layers = list[PositiveInt]
NonEmptyLayers = Annotated[list[PositiveInt], Field(min_length=1)]

WhichCheckpoint = Literal["latest", "best"]  # of a run

strict = dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid", allow_inf_nan=False))
