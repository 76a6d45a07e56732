"""Runs what a table lacks: a sweep for each of its command lines, and evaluations of each run."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from air.cli.arguments import command_words
from air.cli.jobs import grid_jobs
from air.cli.overrides import CONF
from air.comparison.reading import Run, read_runs
from air.errors import ConfigError
from air.reproduction.archive import Archived, archived
from air.reproduction.config import Table

log = logging.getLogger(__name__)

_SCRIPTS = CONF.parent / "scripts"
_SEED = "seed="
_SMOKE = (  # makes any run one of seconds, on images as few as the table says
    "train.num_iterations=4 train.log_every=2 train.eval_every=2 train.save_every=4 "
    "train.eval_size=64 train.num_pictures=0 train.warn_collapse=false"
)


@dataclass(frozen=True)
class Sweep:
    """One command line of a table.

    Attributes:
        words: of `train.py -m`, with the seeds and without where and how it is run.
        jobs: the words of each of its runs, their settings and their seeds.
    """

    words: list[str]
    jobs: list[tuple[str, int]]

    def folder(self, of_table: Path) -> Path:
        """Return the sweep's own folder, which is another one if its words are."""
        name = hashlib.sha256(shlex.join(self.words).encode()).hexdigest()[:8]
        return of_table / name


def sweeps_of(table: Table, smoke: bool) -> list[Sweep]:
    """Return the sweeps of a table.

    Args:
        table: what they are.
        smoke: whether each run is one of seconds, and has one seed alone.

    Raises:
        ConfigError: a command line cannot be read or is no grid, or a published figure stands
            beside no run.
    """
    seeds = table.seeds[:1] if smoke else table.seeds
    behind = f"{_SMOKE} {table.smoke}" if smoke else ""
    found = []
    for line in table.sweeps:
        words = command_words("sweeps", f"{line} {table.common} {behind}")
        words.append(_SEED + ",".join(map(str, seeds)))
        found.append(Sweep(words, [_setting_and_seed(job) for job in grid_jobs(words)]))
    for given in table.evaluate.values():
        command_words("evaluate", given)
    settings = [shlex.split(setting) for sweep in found for setting, _ in sweep.jobs]
    for published in table.published:
        if not any(set(published.beside.split()) <= set(words) for words in settings):
            raise ConfigError(
                f"published.beside: must be words of one of the table's runs, got "
                f"{published.beside!r}"
            )
    return found


def _setting_and_seed(job: Sequence[str]) -> tuple[str, int]:
    (seed,) = [word.removeprefix(_SEED) for word in job if word.startswith(_SEED)]
    return shlex.join(word for word in job if not word.startswith(_SEED)), int(seed)


def run_sweep(
    sweep: Sweep, table: Table, folder: Path, launch: Sequence[str]
) -> Iterator[Archived]:
    """Run a sweep, or the rest of it, evaluate its runs, and yield those that have ended.

    Args:
        sweep: one of the table's.
        table: which says what is evaluated and kept.
        folder: of the table's sweeps.
        launch: further words of the command, which say where jobs are run.
    """
    own = sweep.folder(folder)
    command = ["train.py", "-m", *sweep.words, *launch, f"hydra.sweep.dir={own}"]
    _call(command)  # which says itself what failed
    commit, machine = _commit(), _machine()
    for run in read_runs([own])[0]:
        has_ended = run.status == "finished" or (run.status == "failed" and run.iteration > 0)
        if not has_ended:
            continue
        setting, seed = _setting_and_seed([word for word in run.overrides if word not in launch])
        evaluated = _evaluate(run, table) if run.status == "finished" else {}
        yield archived(run, setting, seed, evaluated, table.columns, commit, machine)


def _evaluate(run: Run, table: Table) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, words in table.evaluate.items():
        output = run.folder / f"evaluation-{name}.json"
        if not output.exists():
            _call(["evaluate.py", f"run={run.folder}", f"output={output}", *shlex.split(words)])
        if output.exists():
            metrics = json.loads(output.read_text(encoding="utf-8"))["metrics"]
            found |= {key: metrics[key] for key in table.columns if key in metrics}
    return found


def _call(command: Sequence[str]) -> None:
    """Run a command of this repository; what it prints is seen."""
    log.info("python scripts/%s", shlex.join(command))
    subprocess.run([sys.executable, _SCRIPTS / command[0], *command[1:]], check=False)


def _commit() -> str:
    """Return which commit of the repository this is, with a + if files have been changed."""

    def git(*words: str) -> str:
        with contextlib.suppress(OSError):  # there is no git
            done = subprocess.run(
                ["git", *words], cwd=_SCRIPTS, capture_output=True, text=True, check=False
            )
            return done.stdout.strip()
        return ""

    changed = git("status", "--porcelain", "--untracked-files=no", "--", "../air", "../conf")
    return (git("rev-parse", "--short=8", "HEAD") or "unknown") + ("+" if changed else "")


def _machine() -> str:
    """Return the processor or the GPU, and the version of PyTorch."""
    import torch  # slow, and not needed where nothing is to be trained

    name = platform.processor() or platform.machine()
    try:
        cpus = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = [line.partition(":")[2].strip() for line in cpus if line.startswith("model name")]
        name = f"{len(names)} x {names[0]}"
    except (OSError, IndexError):
        pass  # another system than Linux
    if torch.cuda.is_available():
        name = torch.cuda.get_device_name()
    return f"{name}, PyTorch {torch.__version__.partition('+')[0]}"
