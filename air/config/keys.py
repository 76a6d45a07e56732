"""The keys of a schema, and the kind of value that each takes."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from pydantic import AfterValidator


@dataclass(frozen=True)
class Kind:
    """What a key takes.

    Attributes:
        text: whether it takes a text.
        texts: whether it takes a list of texts.
        list: whether it takes a list of anything.
        null: whether it may be null.
        meanings: what the schema makes of a text, one after the other, such as of a path.
    """

    text: bool = False
    texts: bool = False
    list: bool = False
    null: bool = False
    meanings: tuple[Callable[[str], str], ...] = ()

    def meaning(self, text: str) -> str:
        """Return what the schema makes of a text."""
        return functools.reduce(lambda value, meaning: meaning(value), self.meanings, text)


ANYTHING = Kind()


def schema_keys(schema: type[Any]) -> dict[str, Kind]:
    """Return every dotted key of a schema with its kind.

    Args:
        schema: a dataclass, whose fields may be dataclasses and unions of them.
    """
    return dict(_walk(schema, ""))


def _walk(schema: type[Any], prefix: str) -> Iterator[tuple[str, Kind]]:
    hints = get_type_hints(schema, vars(sys.modules[schema.__module__]), include_extras=True)
    for field in fields(schema):
        key, alternatives = prefix + field.name, list(_alternatives(hints[field.name]))
        yield key, _kind(alternatives)
        for inner, _ in alternatives:
            if isinstance(inner, type) and is_dataclass(inner):
                yield from _walk(inner, f"{key}.")


def _alternatives(hint: Any, metadata: tuple[Any, ...] = ()) -> Iterator[tuple[Any, list[Any]]]:
    """Yield each type that a hint allows, with all that is annotated to it."""
    if get_origin(hint) is Annotated:
        inner, *more = get_args(hint)
        yield from _alternatives(inner, (*metadata, *more))
    elif get_origin(hint) in (Union, UnionType):
        for each in get_args(hint):
            yield from _alternatives(each, metadata)
    else:
        yield hint, list(metadata)


def _kind(alternatives: list[tuple[Any, list[Any]]]) -> Kind:
    types = [each for each, _ in alternatives]
    lists = [each for each in types if get_origin(each) in (list, tuple)]
    items = [item for each in lists for item in _alternatives(get_args(each)[0])]
    texts = [item for item in [*alternatives, *items] if item[0] is str]
    return Kind(
        text=str in types,
        texts=any(each is str for each, _ in items),
        list=bool(lists),
        null=NoneType in types,
        meanings=tuple(
            note.func  # type: ignore[misc]
            for _, metadata in texts
            for note in metadata
            if isinstance(note, AfterValidator)
        ),
    )
