"""Overrides as they were typed, rewritten so that Hydra's grammar reads them as they were meant.

To Hydra's grammar `=`, `~`, brackets, commas, numbers and `null` mean something wherever they
stand. Here a text is taken as it was typed: where a key takes a text, and where the grammar cannot
read a value, which the schema then refuses if a text is not what the key takes.
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, ValueType
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import GrammarParseError

from air.config.keys import ANYTHING, Kind, schema_keys
from air.config.quoting import literal, uninterpolated
from air.config.schema import Config
from air.errors import ConfigError
from air.fields import expanded

CONF = Path(__file__).parents[2] / "conf"  # the commands of this repository run beside it
_OF_HYDRA = {  # the folders among its own keys
    key: Kind(text=True, meanings=(expanded,)) for key in ("hydra.run.dir", "hydra.sweep.dir")
}
_FUNCTIONS = (  # that name several values
    ValueType.CHOICE_SWEEP,
    ValueType.GLOB_CHOICE_SWEEP,
    ValueType.RANGE_SWEEP,
    ValueType.INTERVAL_SWEEP,
)


def readable_overrides(
    words: Sequence[str], schema: type[Any] = Config, multirun: bool = False
) -> list[str]:
    """Return overrides that Hydra reads as they were meant.

    Args:
        words: `KEY=VALUE`, `+KEY=VALUE` and `~KEY`, as they were typed.
        schema: of the configuration, whose keys say what they take.
        multirun: whether commas part the values of several jobs.

    Raises:
        ConfigError: one of them is no override, or has several values for one run.
    """
    kinds = {**_OF_HYDRA, **schema_keys(schema)}
    readable = []
    for number, word in enumerate(words):
        left, equals, text = word.partition("=")
        if not (equals or left.startswith("~")):
            raise ConfigError(_not_an_override(word, words[number + 1 :], schema))
        key = left.lstrip("+~")
        if not key or parse_override(f"{left}{equals}") is None:
            raise ConfigError(
                f"{word}: must be KEY=VALUE, with names joined by dots as KEY, such as "
                "model.num_steps=3"
            )
        read = _values if multirun and not _is_hydras(left) else _one_value
        # The sweeper parses its parameters itself, so they stay as they were typed.
        other = Kind(text=True) if key.startswith("hydra.sweeper.params.") else ANYTHING
        readable.append(f"{left}{equals}{read(left, text, kinds.get(key, other))}")
    return readable


def parse_override(word: str) -> Override | None:
    """Return what Hydra reads in an override, or None if its grammar cannot read it."""
    with contextlib.suppress(HydraException):
        return OverridesParser.create().parse_override(word)
    return None


def describe_unreadable(word: str, schema: type[Any] = Config) -> str:
    """Say that Hydra cannot read a parameter of a sweep, and how it would read it as a text."""
    try:
        (readable,) = readable_overrides([word], schema, multirun=True)
    except ConfigError as error:
        return str(error)
    return f"{word}: cannot be read; as a text it is written {readable}"


def as_option(name: str, schema: type[Any]) -> str:
    """Return the `GROUP=OPTION` that a name alone may stand for, or an empty text."""
    groups = [path.parent.name for path in sorted(CONF.glob("*/*.yaml")) if path.stem == name]
    known = [group for group in groups if group in known_names(schema)]
    return f"{known[0]}={name}" if known else ""


def known_names(schema: type[Any]) -> set[str]:
    """Return the keys of a schema, and the group of experiments where it is `train.py`'s."""
    return {*schema_keys(schema), *(["experiment"] if schema is Config else [])}


def _is_hydras(left: str) -> bool:
    return left.lstrip("+~").startswith(("hydra.", "hydra/"))  # no sweep changes these


def _values(left: str, text: str, kind: Kind) -> str:
    """Return what Hydra reads as the values of several jobs."""
    parsed = parse_override(f"{left}={text}")
    if parsed is not None and parsed.value_type in _FUNCTIONS:
        return text
    return ",".join(_value(part, kind) for part in _parts(text))


def _one_value(left: str, text: str, kind: Kind) -> str:
    """Return what Hydra reads as one value.

    Raises:
        ConfigError: there are several.
    """
    value = _value(text, kind)
    parsed = parse_override(f"{left}={value}")
    if parsed is not None and parsed.is_sweep_override():
        ways = []
        if not _is_hydras(left):
            ways.append("add -m (--multirun) to run each of them")
        if kind.list or _is_hydras(left):
            ways.append(f"write {shlex.quote(f'{left}=[{text}]')} for a list")
        raise ConfigError(f"{left}={text}: has several values; {', or '.join(ways)}")
    return value


def _value(text: str, kind: Kind) -> str:
    """Return what Hydra reads as one value: of a text, exactly this text."""
    parsed = parse_override(f"key={text}")
    several = parsed is not None and parsed.is_sweep_override()
    if parsed is not None and not (kind.text or (kind.texts and not several)):
        return text
    if kind.texts and text.startswith("[") and text.endswith("]"):
        item = Kind(text=True, meanings=kind.meanings)
        return f"[{','.join(_value(part, item) for part in _parts(text[1:-1]))}]"
    value = parsed.value() if parsed is not None else text
    if value is None and kind.null:
        return text
    typed = value if isinstance(value, str) else text
    # What an interpolation gives is not known yet.
    meant = typed if _interpolates(typed) else uninterpolated(kind.meaning(typed))
    return text if parsed is not None and meant == value else literal(meant)


def _interpolates(text: str) -> bool:
    """Return whether OmegaConf can read a text, and finds something to resolve in it."""
    with contextlib.suppress(GrammarParseError):
        return "${" in text and bool(OmegaConf.create([text]))
    return False


def _parts(text: str) -> list[str]:
    """Return what commas part, but for those in quotes or between brackets that match."""
    parts, start, depth, quote = [], 0, 0, ""
    for place, character in enumerate(text):
        if quote:
            quote = "" if character == quote and text[place - 1] != "\\" else quote
        elif character in "'\"" and not text[start:place].strip():
            quote = character
        elif character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
        elif character == "," and depth == 0:
            parts.append(text[start:place])
            start = place + 1
    parts.append(text[start:])
    return [part.strip() for part in (text.split(",") if depth or quote else parts)]


def _not_an_override(word: str, following: Sequence[str], schema: type[Any]) -> str:
    known = word in known_names(schema)
    if known and following and "=" not in following[0]:
        written = f"{word}={following[0]}"
    else:
        written = as_option(word, schema) or f"{word if known else 'KEY'}=VALUE"
    return f"{word}: is not KEY=VALUE; write {shlex.quote(written)}"
