"""Figures as files; a module of its own, because not every figure needs torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from matplotlib.figure import Figure

_DPI = 150

Format = Literal["png", "pdf"]


def save_figure(figure: Figure, path: Path, formats: Sequence[Format] = ("png",)) -> list[Path]:
    """Write a figure, once for each format.

    Args:
        figure: what to write.
        path: without its ending; its folder is made if absent.
        formats: endings.

    Returns:
        The files.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    files = [path.with_name(f"{path.name}.{ending}") for ending in formats]
    for file in files:
        figure.savefig(file, dpi=_DPI)
    return files
