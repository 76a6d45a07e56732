"""Figures as files; a module of its own, because not every figure needs torch."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from matplotlib.figure import Figure

from air.runs.files import naming

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
    for file, ending in zip(files, formats, strict=True):
        content = io.BytesIO()
        figure.savefig(content, format=ending, dpi=_DPI)
        with naming(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            try:
                file.write_bytes(content.getbuffer())
            except OSError:
                file.unlink(missing_ok=True)
                raise
    return files
