"""A sweep: a job that fails does not stop the others, and a sweep that stopped can be resumed.

multirun.yaml    what was asked for, in Hydra's words
JOB/             the run of a job; result.json and overrides.yaml also if it could not start
.failed/JOB      what went wrong in a job, since the sweep was last started
.lock            held by the process that was started
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import math
import shlex
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from air.cli.command import (
    as_given,
    hydra_overrides,
    hydra_run_dir,
    one_line_errors,
    plain_values,
    user_error_line,
)
from air.cli.overrides import describe_unreadable, parse_override
from air.config.quoting import literal_override
from air.errors import ConfigError, RunFolderError, WriteError
from air.runs.files import write_whole
from air.runs.folder import (
    CONFIG_FILE,
    OVERRIDES_FILE,
    SWEEP_FILE,
    discard_if_empty,
    read_config,
    read_overrides,
    write_overrides,
)
from air.runs.lock import held
from air.runs.result import RunResult, failure, read_result, write_result
from air.training.signals import TRY_AGAIN

# What a sweeper gets for a job that failed: it maximises, so this is worse than any other.
FAILED_METRIC = -math.inf
_FAILED = ".failed"

log = logging.getLogger(__name__)


def run_job(
    composed: DictConfig, train: Callable[[dict[str, Any], Path, list[str]], float]
) -> float:
    """Run one job of a sweep, or the rest of it; an error is reported and ends this job alone.

    Args:
        composed: the job's configuration.
        train: takes the values of the run, its folder, and the overrides to add to its record.

    Returns:
        The run's metric, also of a job that finished when the sweep was started before;
        `FAILED_METRIC` if the job failed.
    """
    run_dir, overrides = hydra_run_dir(), hydra_overrides()
    number = HydraConfig.get().job.num
    try:
        if composed.resume is not None:
            raise ConfigError(
                "resume: cannot be given to a sweep, which resumes its own jobs when it is started "
                f"again with the same hydra.sweep.dir, got {composed.resume!r}"
            )
        _check_same_job(run_dir, overrides)
        before = read_result(run_dir)
        if before and before.status == "finished" and before.metric is not None:
            log.info("job %s has finished before: %s", number, run_dir)
            return before.metric
        if (run_dir / CONFIG_FILE).exists():
            return train({**read_config(run_dir), "resume": str(run_dir)}, run_dir, [])
        return train(plain_values(composed), run_dir, overrides)
    except Exception as error:
        _report_failure(error, number, run_dir, overrides)
        return FAILED_METRIC
    finally:
        discard_if_empty(run_dir)


def _check_same_job(run_dir: Path, overrides: list[str]) -> None:
    """Raise `RunFolderError` if the folder holds another job."""
    recorded = read_overrides(run_dir)
    if recorded is None and not (run_dir / CONFIG_FILE).exists():
        return
    own = (recorded or [])[: len(overrides)]
    later = (recorded or [])[len(overrides) :]  # of a job that was resumed by hand
    if own != overrides or (later and not later[0].startswith("resume=")):
        raise RunFolderError(
            f"{run_dir}: holds a job with other overrides, {shlex.join(recorded or [])!r} instead "
            f"of {shlex.join(overrides)!r}; choose another hydra.sweep.dir"
        )


def _report_failure(error: Exception, number: int, run_dir: Path, overrides: list[str]) -> None:
    line = user_error_line(error)
    trace = "" if line else "\n" + "".join(traceback.format_exception(error)).rstrip()
    line = line or failure(error, 0).error
    report = f"job {number} ({shlex.join(overrides)}): {line}{trace}"
    log.error("failed: %s", report)
    with contextlib.suppress(OSError):  # the disk may be what failed
        failed = Path(HydraConfig.get().sweep.dir) / _FAILED
        failed.mkdir(exist_ok=True)
        (failed / str(number)).write_text(report + "\n", encoding="utf-8")
    if isinstance(error, RunFolderError):
        return  # the folder is another's
    with contextlib.suppress(OSError, RunFolderError, WriteError), held(run_dir):
        before = read_result(run_dir)
        if read_overrides(run_dir) is None:
            write_overrides(run_dir, overrides)
        if before is None or before.status == "stopped":
            iteration = before.iteration if before else 0
            write_result(run_dir, RunResult("failed", iteration, None, {}, line, None))


class SweepCallback(Callback):
    """What Hydra calls where a sweep starts and where it ends, in the process that was started."""

    def __init__(self) -> None:
        self._hold = contextlib.ExitStack()

    def __getstate__(self) -> dict[str, Any]:
        return {}  # jobs in other processes get a copy, and the folder stays this one's

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Claim the sweep's folder, write what was asked for, and say how to resume it."""
        with one_line_errors():  # Hydra would make a warning of an exception
            sweep_dir = Path(config.hydra.sweep.dir)
            _check_params(config)
            _check_same_sweep(sweep_dir, config)
            sweep_dir.mkdir(parents=True, exist_ok=True)
            self._hold.enter_context(held(sweep_dir))
            # Python would not let a launcher end its processes; jobs in this one save first.
            for number in {signal.SIGTERM, getattr(signal, "SIGUSR1", signal.SIGTERM)}:
                self._hold.callback(signal.signal, number, signal.getsignal(number))
                signal.signal(number, _end)
            for report in (sweep_dir / _FAILED).glob("*"):
                report.unlink()
            _fix_folder(config, sweep_dir)
            # Not every sweeper writes it.
            write_whole(sweep_dir / SWEEP_FILE, OmegaConf.to_yaml(config).encode())
            log.info(
                "sweep folder: %s; if it stops, resume it with: %s", sweep_dir, _again(sweep_dir)
            )
            atexit.register(_say_how_to_resume, sweep_dir)  # whatever ends the process before

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Say which jobs failed, if any, and end with exit status 1 then."""
        sweep_dir = Path(config.hydra.sweep.dir)
        self._hold.close()
        atexit.unregister(_say_how_to_resume)
        reports = sorted((sweep_dir / _FAILED).glob("*"), key=lambda path: int(path.name))
        if reports:
            jobs = "job" if len(reports) == 1 else "jobs"
            print(f"error: {len(reports)} {jobs} of the sweep failed:", file=sys.stderr)
            for path in reports:
                line, *trace = path.read_text(encoding="utf-8").splitlines()
                print(f"  {line}{f' (traceback: {path})' if trace else ''}", file=sys.stderr)
            print(f"run what is unfinished again with: {_again(sweep_dir)}", file=sys.stderr)
            sys.exit(1)
        discard_if_empty(sweep_dir / _FAILED)


def _end(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(TRY_AGAIN)


def _say_how_to_resume(sweep_dir: Path) -> None:
    print(f"the sweep stopped; resume it with: {_again(sweep_dir)}", file=sys.stderr)


def _check_params(config: DictConfig) -> None:
    """Raise `ConfigError` if the sweeper could not read its own parameters."""
    for override in _params(config):
        if parse_override(override) is None:
            raise ConfigError(f"hydra.sweeper.params: {describe_unreadable(override)}")


def _params(config: Any) -> list[str]:
    params = OmegaConf.select(config, "hydra.sweeper.params") or {}
    return [f"{key}={value}" for key, value in params.items()]


def _check_same_sweep(sweep_dir: Path, config: DictConfig) -> None:
    """Raise `RunFolderError` if the folder holds another sweep: its jobs have other numbers."""
    if sweep_dir.exists() and not sweep_dir.is_dir():
        raise RunFolderError(f"hydra.sweep.dir: must be a folder, got a file, {sweep_dir}")
    if not any(sweep_dir.glob(f"*/{OVERRIDES_FILE}")):
        return  # no job has been there
    try:
        recorded = OmegaConf.create(yaml.safe_load((sweep_dir / SWEEP_FILE).read_bytes()))
        before = _asked_for(recorded)
    except (FileNotFoundError, yaml.YAMLError, AttributeError, TypeError, ValueError):
        return  # it was killed while it wrote this file; the jobs have their own overrides
    if before != _asked_for(config):
        raise RunFolderError(
            f"hydra.sweep.dir: {sweep_dir} holds another sweep, {before!r} instead of "
            f"{_asked_for(config)!r}; choose another folder"
        )


def _asked_for(config: Any) -> str:
    return shlex.join(
        [*_params(config), *as_given(OmegaConf.select(config, "hydra.overrides.task"))]
    )


def _fix_folder(config: DictConfig, sweep_dir: Path) -> None:
    """Give every job the same sweep folder, whatever its name and the time when it is composed."""
    with read_write(config), open_dict(config):
        config.hydra.sweep.dir = str(sweep_dir)
        given = as_given(config.hydra.overrides.hydra)
        kept = [each for each in given if not _sets_folder(each)]
        config.hydra.overrides.hydra = [*kept, literal_override("hydra.sweep.dir", sweep_dir)]


def _sets_folder(override: str) -> bool:
    return override.lstrip("+").startswith("hydra.sweep.dir=")


def _again(sweep_dir: Path) -> str:
    given = [argument for argument in sys.argv if not _sets_folder(argument)]
    return shlex.join(["python", *given, literal_override("hydra.sweep.dir", sweep_dir)])
