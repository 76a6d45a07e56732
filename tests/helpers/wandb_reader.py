"""Reads a W&B run that was kept offline, with the tool that W&B itself brings along."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class OfflineRun:
    """What W&B would be told about a run."""

    folder: Path
    id: str = ""
    name: str = ""
    project: str = ""
    entity: str = ""
    group: str = ""
    job_type: str = ""
    notes: str = ""
    tags: list[str] = field(default_factory=list)
    resumes: bool = False
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    step_metrics: dict[str, str] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    artifacts: list[dict[str, Any]] = field(default_factory=list)
    alerts: list[dict[str, Any]] = field(default_factory=list)
    exit_code: int | None = None


def offline_runs(run_dir: Path) -> list[Path]:
    """Return the offline W&B folders in a run folder, oldest first."""
    return sorted((run_dir / "wandb").glob("offline-run-*"), key=lambda path: path.stat().st_mtime)


def read_offline_run(folder: Path) -> OfflineRun:
    """Read a finished offline run.

    Args:
        folder: a W&B folder, as from `offline_runs`.

    Returns:
        The run. In its history and summary the parts of tables and images have dotted names, as
        W&B keeps them: "val/confusion.nrows".
    """
    (record_file,) = folder.glob("*.wandb")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(record_file)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    run = OfflineRun(folder)
    for record in map(json.loads, lines):
        content = record.get(record["type"], {})
        match record["type"]:
            case "run":
                run.id, run.project = content["run_id"], content["project"]
                run.entity = content.get("entity", "")
                run.name, run.notes = content.get("display_name", ""), content.get("notes", "")
                run.group, run.job_type = content.get("run_group", ""), content.get("job_type", "")
                run.tags, run.resumes = content.get("tags", []), content.get("resume", False)
                run.config |= content["config"]["update"]
            case "config":
                run.config |= content["update"]
            case "history":
                run.history.append(content["item"])
            case "summary":
                run.summary |= content["update"]
            case "metric":
                name = content.get("name") or content["glob_name"]
                run.step_metrics[name] = content.get("step_metric", "")
            case "files":
                run.files += [file["path"] for file in content["files"]]
            case "artifact":
                run.artifacts.append(content)
            case "alert":
                run.alerts.append(content)
            case "exit":
                run.exit_code = content.get("exit_code", 0)
    own = [name for name in run.config if name.split(".")[0] == "_wandb"]  # W&B's own notes
    for name in own:
        del run.config[name]
    return run
