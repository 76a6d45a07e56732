"""What W&B finds around a run: its environment variables, its settings files and an API key."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from air.errors import ConfigError
from air.tracking.environment import WANDB_VARIABLES

Mode = Literal["online", "offline", "disabled"]

_MODES: dict[str, Mode] = {
    **{"online": "online", "offline": "offline", "disabled": "disabled"},
    **{"run": "online", "dryrun": "offline"},  # W&B's older names
}
_MODE = WANDB_VARIABLES["mode"]
# W&B's own sweeps choose these, and nothing but the environment tells it.
_OF_ITS_SWEEPS = {WANDB_VARIABLES[field] for field in ("project", "entity")}


@contextlib.contextmanager
def wandb_environment(folder: Path | None = None) -> Iterator[None]:
    """Have W&B see its variables without what the configuration says, and without empty ones.

    Args:
        folder: where it keeps what would otherwise be in the user's home: a cache, copies of what
            it has to send, and the log of its service, which inherits the variables when it starts.
            What the user has set comes first. None: nothing is kept.
    """
    before = {name: text for name, text in os.environ.items() if name.startswith("WANDB_")}
    # The configuration says these, where a resumed run or the command line may differ.
    hidden = set(WANDB_VARIABLES.values())
    if before.get("WANDB_SWEEP_ID"):
        hidden -= _OF_ITS_SWEEPS
    seen = {name: text for name, text in before.items() if text and name not in hidden}
    kept = {"WANDB_CACHE_DIR": "cache", "WANDB_DATA_DIR": "data"} if folder else {}
    for name, part in kept.items():
        seen.setdefault(name, os.path.abspath(f"{folder}/{part}"))
    seen["WANDB_SILENT"] = "true"
    try:
        _replace(before, seen)
        yield
    finally:
        _replace(seen, before)


def _replace(old: Mapping[str, str], new: Mapping[str, str]) -> None:
    """Replace some variables; others, such as the one by which W&B finds its service, stay."""
    for name in old.keys() - new.keys():
        os.environ.pop(name, None)
    os.environ.update(new)


def root_folder(run_dir: Path) -> Path:
    """Return where W&B makes the folder `wandb` for a run: `WANDB_DIR` if set, or in its folder."""
    return Path(os.environ.get("WANDB_DIR") or run_dir).expanduser()


def check_root() -> None:
    """Raise `ConfigError` if W&B's files cannot be where `WANDB_DIR` says: W&B would use /tmp."""
    root = root_folder(Path())
    there = next(path for path in (root, *root.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise ConfigError(f"WANDB_DIR: must be a folder that can be written to, got {str(root)!r}")


def resolve_mode(
    configured: str,
    environment: Mapping[str, str],
    saved_mode: Callable[[], str],
    key_is_configured: Callable[[], bool],
) -> Mode:
    """Return the mode that `tracking.mode` stands for; nothing here ever asks at a prompt.

    Args:
        configured: auto, online, offline or disabled. For auto, the first of these that is set:
        environment: of the process, with `WANDB_MODE`; dryrun is offline, and run is online.
        saved_mode: what W&B's settings files say, such as after `wandb offline`; or online.
        key_is_configured: whether W&B would find an API key: online, or offline without one.

    Returns:
        online, offline or disabled.

    Raises:
        ConfigError: online is asked for and there is no key, or a mode is unknown.
    """
    source, mode = "tracking.mode", configured
    if mode == "auto":
        source, mode = _MODE, environment.get(_MODE) or "auto"
    if mode == "auto":
        source, mode = "mode in W&B's settings", saved_mode()
        if mode == "online":  # which is what W&B says where there is none, too
            return "online" if key_is_configured() else "offline"
    if mode not in _MODES:
        raise ConfigError(f"{source}: must be one of {', '.join(_MODES)}, got {mode!r}")
    if _MODES[mode] == "online" and not key_is_configured():
        raise ConfigError(
            f"{source}: online needs an API key, and none is configured; run `wandb login`, "
            "set WANDB_API_KEY, or use tracking.mode=offline"
        )
    return _MODES[mode]


def find_mode(configured: str) -> Mode:
    """Return the mode that a run has here.

    Args:
        configured: auto, online, offline or disabled.

    Raises:
        ConfigError: as `resolve_mode`; or a key is there but malformed, or W&B cannot read its own
            settings.
    """
    return resolve_mode(configured, os.environ, saved_mode, key_is_configured)


def saved_mode() -> str:
    """Return the mode that W&B's settings files say, online if they say none.

    Raises:
        ConfigError: W&B cannot read its own settings.
    """
    with _found():
        return str(_settings().mode)


def key_is_configured() -> bool:
    """Return whether W&B would find an API key without asking: environment, settings or netrc.

    Raises:
        ConfigError: a key is there but malformed, or W&B cannot read its own settings.
    """
    # Not `wandb.login(prompt=False)`: with a key but no network, it waits for the server.
    from wandb.sdk.lib import wbauth

    with _found():
        found = wbauth.authenticate_session(
            host=_settings().base_url, source="AIR", prompt=False, update_session=False
        )
    return found is not None


def _settings() -> Any:
    """Return what W&B reads once a session, without starting its service, as `wandb.setup` does."""
    from wandb.sdk import wandb_setup

    return wandb_setup.singleton().settings


@contextlib.contextmanager
def _found() -> Iterator[None]:
    import wandb

    try:
        with wandb_environment():
            yield
    except (wandb.Error, ValueError) as error:
        raise ConfigError(f"tracking.mode: W&B cannot log in: {message_line(error)}") from None


def message_line(error: Exception) -> str:
    """Return the message of one of W&B's errors."""
    return " ".join(str(error).split())
