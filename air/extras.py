"""Packages that only some commands need, and that a plain installation leaves out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from air.errors import AIRError


class MissingExtraError(AIRError):
    """A command needs packages that are not installed."""


@contextlib.contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Say which extra to install if an import inside the block finds no package.

    Args:
        extra: its name in setup.cfg.

    Raises:
        MissingExtraError: a package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{error.name}: is not installed; this needs the extra {extra!r}: "
            f'pip install -e ".[{extra}]"'
        ) from error
