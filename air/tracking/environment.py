"""Defaults that come from the environment; a variable that is empty counts as unset."""

from __future__ import annotations

import os


def from_environment(name: str, default: str | None = None) -> str | None:
    """Return a variable, or the default where it is unset.

    Args:
        name: of the variable.
        default: None for nothing.
    """
    return os.environ.get(name) or default


def list_from_environment(name: str) -> list[str]:
    """Return what a variable has between its commas; nothing where it is unset.

    Args:
        name: of the variable.
    """
    return [part.strip() for part in os.environ.get(name, "").split(",") if part.strip()]
