"""The names of the sites, which model and guide share."""

from __future__ import annotations

PLATE = "data"
OBS = "obs"
Z_PRES, Z_WHERE, Z_WHAT = "z_pres", "z_where", "z_what"  # of step t: z_pres_{t}, …
Z_BACKGROUND = "z_background"


def at_step(latent: str, t: int) -> str:
    """Return the name of a latent's site at a step: ("z_where", 2) -> "z_where_2"."""
    return f"{latent}_{t}"


def latent_of(site: str) -> str | None:
    """Return the latent that a site holds: "z_where_2" -> "z_where"; None where it holds none."""
    if not site.startswith("z_"):
        return None
    latent, _, step = site.rpartition("_")
    return latent if step.isdecimal() else site


def step_of(site: str) -> int | None:
    """Return the step that a latent's site is of: "z_where_2" -> 2; None where it is of none."""
    _, _, step = site.rpartition("_")
    return int(step) if step.isdecimal() else None
