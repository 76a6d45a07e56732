"""The kinds of value that a configuration's fields have."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError
from typing_extensions import LiteralString, dataclass_transform

NonLinearity = Literal["ReLU", "ELU", "GELU", "LeakyReLU", "SiLU", "Softplus", "Tanh"]

Count = Annotated[int, Field(ge=0)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # what NumPy's generators take
PositiveInt = Annotated[int, Field(ge=1)]
Real = Annotated[float, Field(allow_inf_nan=False)]
PositiveReal = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Probability = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
FlipProbability = Annotated[float, Field(gt=0, lt=0.5, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
PositiveShare = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
NonEmptyText = Annotated[str, Field(min_length=1)]
Layers = list[PositiveInt]
NonEmptyLayers = Annotated[list[PositiveInt], Field(min_length=1)]


def _or_say(code: LiteralString, message: LiteralString) -> WrapValidator:
    """Say what is wrong once, instead of once for each kind of value that is allowed."""

    def check(value: Any, validated: ValidatorFunctionWrapHandler) -> Any:
        try:
            return validated(value)
        except ValidationError:
            raise PydanticCustomError(code, message) from None

    return WrapValidator(check)


Auto = Literal["auto"]  # found from the training images, at the start of a run
PositiveRealOrAuto = Annotated[
    PositiveReal | Auto,
    _or_say("number_or_auto", "Input should be a finite number above 0, or auto"),
]

WhichCheckpoint = Annotated[  # of a run
    Literal["latest", "best"] | Count,
    _or_say(
        "which_checkpoint",
        "Input should be latest, best or the iteration of a checkpoint that was kept",
    ),
]


def expanded(path: str) -> str:
    """Return a path with the home folder in the place of `~`."""
    return os.path.expanduser(path)


def absolute(path: str) -> str:
    """Return a path that means the same file from any folder."""
    return str(Path(expanded(path)).absolute()) if path else path


GivenPath = NonEmptyText  # recorded as it was given, so that a run can move to another machine
UserPath = Annotated[NonEmptyText, AfterValidator(expanded)]
AbsolutePath = Annotated[
    NonEmptyText, AfterValidator(absolute)
]  # for what must be found from any folder

_STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
Schema = TypeVar("Schema")


@dataclass_transform(frozen_default=True)
def strict(schema: type[Schema]) -> type[Schema]:
    """Make a class a frozen dataclass whose fields are checked and converted to nothing else."""
    checked: Any = dataclass(frozen=True, config=_STRICT)
    made: type[Schema] = checked(schema)
    return made


def config_values(config: Any) -> dict[str, Any]:
    """Return a configuration as nested plain values: the inverse of `parse_as`."""
    values: dict[str, Any] = TypeAdapter(type(config)).dump_python(config, mode="json")
    return values
