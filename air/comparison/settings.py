"""Which runs differ in their seed alone, and what the others differ in."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from air.comparison.reading import Run

# What says how and where a run is run and watched, but not what it is.
_NOT_SETTINGS = (
    *("seed", "device", "resume", "tracking", "data.root"),
    *("train.threads", "train.warn_collapse"),
)
ABSENT = "–"  # of a key that another option of a group has
_DEFAULT = "default"  # of a group whose option was left as it is
_UNKNOWN = "?"


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed alone.

    Attributes:
        runs: by seed; failed and missing ones too.
        cells: what sets them apart from the other groups, a text for each column.
    """

    runs: list[Run]
    cells: dict[str, str]


@dataclass(frozen=True)
class Grouping:
    """Runs in groups.

    Attributes:
        groups: each with the same columns.
        companions: keys that vary too, but that the columns determine.
    """

    groups: list[Group]
    companions: list[str]

    @property
    def columns(self) -> list[str]:
        """What varies, as it was set on the command line where it was."""
        return list(self.groups[0].cells) if self.groups else []


def group_runs(runs: Sequence[Run]) -> Grouping:
    """Put runs together that differ in their seed alone.

    Args:
        runs: of any configurations, which need not have the same keys.

    Returns:
        The groups in the order of their first runs.
    """
    members: dict[str, list[Run]] = {}
    for run in runs:
        members.setdefault(_identity(run), []).append(run)
    together = [sorted(group, key=_by_seed) for group in members.values()]
    cells, companions = _choose_columns(together)
    return Grouping(
        [
            Group(group, {name: column[i] for name, column in cells.items()})
            for i, group in enumerate(together)
        ],
        companions,
    )


def flat_settings(values: Mapping[str, Any]) -> dict[str, str]:
    """Return what a run is, as a text for each dotted key; neither its seed nor where it is run."""
    return {
        key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for key, value in _flat(values)
        if _is_setting(key)
    }


def short(cell: str) -> str:
    """Return a column's text for reading: of a long number the first digits."""
    try:
        return f"{float(cell):.4g}" if len(cell) > 6 else cell
    except ValueError:
        return cell


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _identity(run: Run) -> str:
    """Return a text that two runs share if they differ in their seed alone."""
    if run.values is not None:
        return json.dumps(flat_settings(run.values), sort_keys=True)
    known = [text for text in run.overrides if _is_setting(_override(text)[0])]
    return str(known if run.overrides else run.folder)


def _by_seed(run: Run) -> tuple[bool, int, str]:
    return (run.seed is None, run.seed or 0, str(run.folder))


# --- columns --------------------------------------------------------------------------------------


def _choose_columns(groups: Sequence[Sequence[Run]]) -> tuple[dict[str, list[str]], list[str]]:
    """Choose the columns that tell the groups apart: what was set by hand, then what else it takes.

    Returns:
        For each column its text for each group; and the keys that vary with these columns.
    """
    settings = [flat_settings(group[0].values or {}) for group in groups]
    known = [group[0].values is not None for group in groups]
    overrides = [_choices(group) for group in groups]
    columns: dict[str, list[str]] = {}
    keys = {key: None for each in settings for key in each}  # in the order of the configurations
    for name in {name: None for each in overrides for name in each}:
        if name in keys:
            column = [each.get(name, ABSENT) for each in settings]
            column = [
                text if there else given.get(name, _UNKNOWN)
                for text, there, given in zip(column, known, overrides, strict=True)
            ]
        else:
            column = [each.get(name, _DEFAULT) for each in overrides]
        if len(set(column)) > 1:
            columns[name] = column
    companions = []
    for key in sorted(keys, key=lambda key: key != "name" and not key.endswith(".kind")):
        column = [
            each.get(key, ABSENT) if there else _UNKNOWN
            for each, there in zip(settings, known, strict=True)
        ]
        if key in columns or len({text for text in column if text != _UNKNOWN}) < 2:
            continue
        if _determines(columns.values(), column):
            companions.append(key)
        else:
            columns[key] = column
    return columns, companions


def _determines(columns: Iterable[Sequence[str]], column: Sequence[str]) -> bool:
    """Return whether groups that agree in all columns agree in this one too."""
    rows = list(zip(*columns, strict=True)) or [()] * len(column)
    return len(set(rows)) == len(set(zip(rows, column, strict=True)))


def _choices(group: Sequence[Run]) -> dict[str, str]:
    """Return what the command lines of a group chose: fields, and options of configuration groups.

    Where one run names an option and another does not, the other has the same one by default.
    """
    overrides = [_override(text) for run in group for text in run.overrides]
    return {key: value for key, value in overrides if _is_setting(key)}


def _override(text: str) -> tuple[str, str]:
    key, _, value = text.lstrip("+~").partition("=")
    return key.partition("@")[0], value


def _is_setting(key: str) -> bool:
    return not any(key == name or key.startswith(f"{name}.") for name in _NOT_SETTINGS)
