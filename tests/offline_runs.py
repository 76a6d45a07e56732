"""Reads back what an offline W&B run holds, with W&B's own command."""

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class OfflineRun:
    run: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    exit_code: int | None = None


def read_offline_run(folder: Path) -> OfflineRun:
    """Read `offline-run-…`."""
    (log,) = folder.glob("*.wandb")
    wandb = Path(sys.executable).parent / "wandb"
    result = subprocess.run(
        [wandb, "leet", "inspect", "--json", log], capture_output=True, text=True, check=True
    )
    found = OfflineRun()
    for line in result.stdout.splitlines():
        record = json.loads(line)
        content = record.get(record["type"], {})
        match record["type"]:
            case "run":
                found.run = content
                found.config = content["config"]["update"]
            case "history":
                found.history.append(content["item"])
            case "summary":
                found.summary |= content["update"]
            case "files":
                found.files += [file["path"] for file in content["files"]]
            case "exit":
                found.exit_code = content.get("exit_code", 0)
    return found


def offline_runs(folder: Path) -> list[OfflineRun]:
    """Read every offline run below a folder, in the order of their names."""
    return [read_offline_run(path) for path in sorted(folder.rglob("offline-run-*"))]
