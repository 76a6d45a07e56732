"""The commands of `scripts/`: Hydra composes their values, and what is wrong is one line."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import secrets
import signal
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from air.acceleration.threads import wait_passively
from air.cli.arguments import hydra_arguments
from air.cli.overrides import describe_unreadable, parse_override
from air.config.parsing import describe_unknown_key
from air.config.quoting import uninterpolated
from air.config.schema import Config
from air.errors import AIRError, ConfigError, ProcessLostError
from air.fields import expanded
from air.tracking.environment import wandb_default
from air.training.launch import agreed, find_launch, is_to_say

_PLUGIN_EXTRAS = {  # Hydra's launchers and sweepers, and the extras of setup.cfg that have them
    "joblib": "joblib",
    "submitit_local": "submitit",
    "submitit_slurm": "submitit",
    "ray": "ray",
    "optuna": "optuna",
}


def run_command(main: Callable[[], Any], schema: type[Any] = Config) -> None:
    """Run a `hydra.main` function; what the user can mend is one line and exit status 1.

    Args:
        main: decorated with `hydra.main`; it takes its overrides from the command line.
        schema: of its configuration, whose keys are named where one is unknown.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands errors on instead of printing them
    wait_passively()
    with one_line_errors(schema):
        sys.argv[1:] = hydra_arguments(sys.argv[1:], schema)
        _refuse_sweep_of_several()
        main()


def _refuse_sweep_of_several() -> None:
    size = find_launch().size
    if size > 1 and {"-m", "--multirun", "hydra.mode=MULTIRUN"} & set(sys.argv):
        raise ConfigError(
            f"--multirun: a sweep must be run by one process, got {size}; "
            "start torchrun once for each job instead"
        )


def where_started(task: Callable[[DictConfig], Any]) -> Callable[[DictConfig], Any]:
    """Run a function of `hydra.main` in the folder where the command was started.

    With `hydra.job.chdir=true` Hydra goes into the run's folder, and comes back from it.
    """

    @functools.wraps(task)
    def run(composed: DictConfig) -> Any:
        hydra = HydraConfig.get()
        if hydra.job.chdir:
            os.chdir(hydra.runtime.cwd)
        return task(composed)

    return run


@contextlib.contextmanager
def one_line_errors(schema: type[Any] = Config) -> Iterator[None]:
    """End the command with one line and exit status 1 for what the user can mend.

    Also around what Hydra calls, because Hydra would print a line of its own first.

    Args:
        schema: of the configuration, whose keys are named where one is unknown.
    """
    try:
        yield
    except Exception as error:
        line = user_error_line(error, schema)
        if line is None:
            raise
        # Of the processes that `torchrun` started, only one prints it.
        printed = is_to_say(line, follows=isinstance(error, ProcessLostError))
        sys.exit(f"error: {line}" if printed else 1)
    except KeyboardInterrupt:  # before training, which has a handler of its own
        sys.exit(128 + signal.SIGINT)


def user_error_line(error: Exception, schema: type[Any] = Config) -> str | None:
    """Return one line about what the user can mend, or None for a bug.

    Args:
        error: what went wrong.
        schema: of the configuration, whose keys are named where one is unknown.
    """
    if isinstance(error, (AIRError, HydraException, OmegaConfBaseException)):
        return one_line(error, schema)
    if isinstance(error, FileExistsError) and os.path.isfile(error.filename):
        return f"{error.filename}: must be a folder, got a file"
    if isinstance(error, OSError):  # a full disk, no permission
        return f"{error.filename or 'the run folder'}: {error.strerror or error}"
    return None


def plain_values(composed: DictConfig) -> dict[str, Any]:
    """Resolve what Hydra composed to nested plain values, without those that are missing."""
    values = OmegaConf.to_container(composed, resolve=True)
    assert isinstance(values, dict)
    return _without_missing(values)


def _without_missing(values: dict[Any, Any]) -> dict[str, Any]:
    return {
        str(key): _without_missing(value) if isinstance(value, dict) else value
        for key, value in values.items()
        if value != "???"
    }


def in_sweep() -> bool:
    """Return whether this process runs a job of a sweep."""
    return _sweep() is not None


def hydra_run_dir() -> Path:
    """Return the folder that Hydra made for this job."""
    return Path(HydraConfig.get().runtime.output_dir)


def hydra_overrides() -> list[str]:
    """Return the overrides of this job, as they were given."""
    return as_given(HydraConfig.get().overrides.task)


def as_given(overrides: Any) -> list[str]:
    """Return the overrides that a list of Hydra's holds, without resolving what is in them."""
    given = OmegaConf.to_container(overrides, resolve=False)
    assert isinstance(given, list)
    return given


def resumed_values(saved: dict[str, Any], overrides: list[str]) -> dict[str, Any]:
    """Return a run's own values, with those fields changed that the command line names again.

    Args:
        saved: the values that the run was started with.
        overrides: `key=value`, as given to the resuming command.

    Raises:
        ConfigError: an override names a whole group, which a run keeps, or no known key.
    """
    config = OmegaConf.create(_as_texts(saved))
    for override in overrides:
        key, _, _ = override.lstrip("+").partition("=")
        if OmegaConf.is_dict(OmegaConf.select(config, key)) or "/" in key or key == "experiment":
            raise ConfigError(
                f"{key}: a resumed run keeps its own {key}; only single fields can be changed, "
                f"got {override}"
            )
        parsed = parse_override(override)
        if parsed is None or key.startswith("~") or key not in _dotted_keys(saved):
            raise ConfigError(describe_unknown_key(key))
        OmegaConf.update(config, key, parsed.value())
    return plain_values(config)


def _as_texts(values: Any) -> Any:
    """Return values of which OmegaConf resolves nothing: a run has recorded what it came to."""
    if isinstance(values, dict):
        return {name: _as_texts(value) for name, value in values.items()}
    if isinstance(values, list):
        return [_as_texts(value) for value in values]
    return uninterpolated(values) if isinstance(values, str) else values


def _dotted_keys(values: dict[str, Any], prefix: str = "") -> set[str]:
    keys = set()
    for name, value in values.items():
        keys.add(prefix + name)
        if isinstance(value, dict):
            keys |= _dotted_keys(value, f"{prefix}{name}.")
    return keys


def one_line(error: Exception, schema: type[Any] = Config) -> str:
    """Return what is wrong in one line; Hydra's own errors take several."""
    if isinstance(error, OverrideParseException):  # what else was typed can be read
        return f"hydra.sweeper.params: {describe_unreadable(error.override, schema)}"
    text = str(error)
    plugin = re.search(r"Could not (?:find|load) 'hydra/(launcher|sweeper)/(\w+)'", text)
    if plugin and plugin.group(2) in _PLUGIN_EXTRAS:
        extra = _PLUGIN_EXTRAS[plugin.group(2)]
        return (
            f"hydra/{plugin.group(1)}: {plugin.group(2)} is not installed; this needs the extra "
            f'{extra!r}: pip install -e ".[{extra}]"'
        )
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, name = error.missing_cfg_file.rpartition("/")
        return f"{group}: must be one of {', '.join(error.options)}, got {name}"
    if isinstance(error, OmegaConfBaseException) and error.full_key:
        reason = str(error.msg or error).splitlines()[0]
        literally = "; a text that has ${ in it is written \\${" if "nterpolat" in text else ""
        return f"{error.full_key}: {reason}{literally}"
    unknown = re.match(r"Could not override '([^']+)'", text)
    if unknown and not unknown.group(1).startswith("hydra."):
        return describe_unknown_key(unknown.group(1), schema)
    cause = f" {error.__cause__}" if isinstance(error.__cause__, OmegaConfBaseException) else ""
    return " ".join((text + cause).split())


# --- resolvers, for conf/ ------------------------------------------------------------------------


def _token() -> str:
    """Return four characters that keep two runs of the same second apart."""
    return secrets.token_hex(2)


def _run_dir(name: str, resume: str | None) -> str:
    """Return a resumed run's own folder, or a new one."""
    if resume is not None:
        return expanded(resume)
    folder_name = re.sub(r"[^\w.-]", "-", name)  # before the name itself is checked
    new = f"outputs/runs/{datetime.now():%Y-%m-%d/%H-%M-%S}-{folder_name}-{_token()}"
    return agreed("run folder", new)  # by all processes that torchrun started


def _sweep() -> HydraConf | None:
    if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
        return HydraConfig.get()
    return None


def _sweep_name(default: str | None = None) -> str | None:
    hydra = _sweep()
    return Path(hydra.sweep.dir).name if hydra else default


def _job_name(name: str) -> str:
    """Return the experiment and, in a sweep, the job's number."""
    hydra = _sweep()
    return f"{name}-{hydra.job.num}" if hydra else name


def register_resolvers() -> None:
    """Make `${air.…}` known to OmegaConf; scripts do this by importing this module."""
    OmegaConf.register_new_resolver("air.token", _token, use_cache=True, replace=True)
    OmegaConf.register_new_resolver("air.run_dir", _run_dir, use_cache=True, replace=True)
    OmegaConf.register_new_resolver("air.sweep_name", _sweep_name, replace=True)
    OmegaConf.register_new_resolver("air.job_name", _job_name, replace=True)
    OmegaConf.register_new_resolver("air.wandb", wandb_default, replace=True)


register_resolvers()
