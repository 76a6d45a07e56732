"""What W&B's environment variables say; one that is empty counts as unset."""

from __future__ import annotations

import os

WANDB_VARIABLES = {  # by the field of `WandbConfig` whose default each is
    "mode": "WANDB_MODE",
    "project": "WANDB_PROJECT",
    "entity": "WANDB_ENTITY",
    "run_name": "WANDB_NAME",
    "group": "WANDB_RUN_GROUP",
    "job_type": "WANDB_JOB_TYPE",
    "tags": "WANDB_TAGS",
    "notes": "WANDB_NOTES",
}


def wandb_default(field: str, default: str | None = None) -> str | list[str] | None:
    """Return what the environment says for a field of `WandbConfig`.

    Args:
        field: its name.
        default: where the variable is unset.

    Returns:
        The text; of tags, which have no other default, those between the commas.
    """
    text = os.environ.get(WANDB_VARIABLES[field])
    if field == "tags":
        return [tag.strip() for tag in (text or "").split(",") if tag.strip()]
    return text or default
