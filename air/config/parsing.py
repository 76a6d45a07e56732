"""From plain nested values to a checked `Config`, with one clear line for each wrong value."""

from __future__ import annotations

import difflib
import functools
import json
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from air.config.keys import schema_keys
from air.config.schema import Config
from air.errors import ConfigError

Schema = TypeVar("Schema")


def parse_config(values: Mapping[str, Any]) -> Config:
    """Turn nested plain values into a checked `Config`.

    Args:
        values: nested dicts, lists and scalars, as composed from `conf/` or read from a checkpoint.

    Returns:
        The typed configuration.

    Raises:
        ConfigError: the key, what is allowed and what it got, for each wrong value.
    """
    config = parse_as(Config, values)
    config.check()
    return config


def parse_as(schema: type[Schema], values: Mapping[str, Any]) -> Schema:
    """Turn nested plain values into a dataclass of the schema, strictly.

    Args:
        schema: a pydantic dataclass.
        values: nested dicts, lists and scalars.

    Raises:
        ConfigError: the key, what is allowed and what it got, for each wrong value.
    """
    try:
        # As JSON, because strict validation of Python values refuses a dict for a dataclass.
        return TypeAdapter(schema).validate_json(json.dumps(values))
    except ValidationError as error:
        items = error.errors()
        # An option that has no meaning inside another; its fields are then not to blame.
        wrong = [item["loc"][:-1] for item in items if _is_wrong_option(item)]
        problems = [
            _describe(item, values, schema)
            for item in items
            if _is_wrong_option(item) or item["loc"][:-1] not in wrong
        ]
        raise ConfigError("; ".join(problems)) from None


def describe_unknown_key(key: str, schema: type[Any] = Config) -> str:
    """Say that there is no such key, which one may have been meant, and which there are.

    Args:
        key: the dotted path that was given, such as "model.nm_steps".
        schema: the dataclass whose keys are known.
    """
    known = sorted(schema_keys(schema))
    group = key.rpartition(".")[0]
    if key in known:  # of another option
        return f"{key}: is not a key of the chosen {group}; another option of {group} has it"
    siblings = [name for name in known if name.rpartition(".")[0] == group]
    close = difflib.get_close_matches(key, known, n=1)
    hint = f" did you mean {close[0]}?" if close else ""
    allowed = ", ".join(siblings or [name for name in known if "." not in name])
    return f"{key}: no such key;{hint} allowed: {allowed}"


def _is_wrong_option(item: Any) -> bool:
    return bool(item["type"] == "literal_error" and item["loc"][-1] == "kind")


def _describe(item: Any, values: Mapping[str, Any], schema: type[Any]) -> str:
    key = _key(item["loc"], values)
    match item["type"]:
        case "unexpected_keyword_argument":
            line = describe_unknown_key(key, schema)
            other = "is not a key of the chosen" in line
            return f"{line}; if an experiment sets it, ~{key} leaves it out" if other else line
        case "missing":
            return f"{key}: is required, but missing"
        case "union_tag_invalid":
            return f"{key}.kind: must be {item['ctx']['expected_tags']}, got {item['ctx']['tag']!r}"
        case "too_short" | "string_too_short":
            return f"{key}: must not be empty, got {item['input']!r}"
        case "list_type":
            return f"{key}: must be a list, got {item['input']!r}"
        case "string_pattern_mismatch":
            return f"{key}: must match {item['ctx']['pattern']}, got {item['input']!r}"
    if _is_wrong_option(item) and "." in (group := key.removesuffix(".kind")):
        outer, _, inner = group.rpartition(".")
        option = functools.reduce(lambda inside, name: inside[name], outer.split("."), values)
        return (
            f"{inner}: must be {item['ctx']['expected']} with {outer}={option['kind']}, "
            f"got {item['input']!r}"
        )
    requirement = item["msg"].removeprefix("Input should ")
    return f"{key}: must {requirement}, got {item['input']!r}"


def _key(location: tuple[Any, ...], values: Any) -> str:
    """Return the dotted key at a location, without the tags of unions that pydantic puts in it."""
    parts = []
    for part in location:
        if isinstance(values, Mapping) and part not in values and part == values.get("kind"):
            continue
        parts.append(str(part))
        inside = isinstance(values, (Mapping, list)) and part != "kind"
        try:
            values = values[part] if inside else None
        except (KeyError, IndexError):
            values = None
    return ".".join(parts)
