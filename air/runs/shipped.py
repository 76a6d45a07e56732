"""Models that come with the package: of each a checkpoint, whose configuration is in it."""

from __future__ import annotations

from pathlib import Path

SHIPPED_MODELS = ("multi_mnist",)  # air/README.md says how each was made
SHIPPED_OUTPUTS = Path("outputs/shipped")  # the package's own folder may be read-only


def shipped_checkpoint(name: str | Path) -> Path | None:
    """Return the checkpoint file of a shipped model.

    Args:
        name: what was given where a path or the name of a shipped model may be.

    Returns:
        The file; None if there is a file or a folder at `name`, or if no shipped model has it.
    """
    if str(name) not in SHIPPED_MODELS or Path(name).exists():
        return None
    return Path(__file__).with_name(f"{name}.pt")
