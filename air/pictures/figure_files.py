"""Figures as files; a module of its own, because not every figure needs torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from matplotlib.figure import Figure

from air.runs.files import make_folder, replacing

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

    Raises:
        WriteError: one cannot be written.
    """
    files = [path.with_name(f"{path.name}.{ending}") for ending in formats]
    make_folder(path.parent)
    for file, ending in zip(files, formats, strict=True):
        with replacing(file) as opened:
            figure.savefig(opened, format=ending, dpi=_DPI)
    return files
