"""Overrides written so that Hydra, and a shell where they are pasted, read them literally."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

# What Hydra reads as the text that it is: it has no number, no keyword and no character of Hydra's.
_PLAIN = r"(?!(?i:true|false|null|inf|nan)$)[A-Za-z_./][\w./-]*[A-Za-z_/-][\w./-]*|[A-Za-z_/]"


def literal(text: str) -> str:
    """Return a text as Hydra reads it literally: in quotes, where it would read anything else."""
    if re.fullmatch(_PLAIN, text, re.ASCII):
        return text
    # A backslash has a meaning only before a quote.
    escaped = re.sub(
        r"(\\*)('|\Z)", lambda found: found[1] * 2 + found[2].replace("'", r"\'"), text
    )
    return f"'{escaped}'"


def uninterpolated(text: str) -> str:
    """Return a text that OmegaConf resolves to this text, also where it has a `${`."""
    return re.sub(r"(\\*)\$\{", lambda found: found[1] * 2 + r"\${", text)


def literal_override(key: str, text: str | Path) -> str:
    """Return `key=text`, quoted where Hydra would read anything else."""
    return f"{key}={literal(uninterpolated(str(text)))}"


def to_paste(key: str, text: str | Path) -> str:
    """Return `key=text` to be pasted into a shell."""
    return shlex.quote(literal_override(key, text))
