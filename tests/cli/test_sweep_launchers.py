"""The launchers and sweepers of Hydra's ecosystem, each with the preset of `conf/hydra`."""

import contextlib
import importlib.util
import math
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import time

import psutil
import pytest
import yaml

from air.cli.command import user_error_line
from air.runs.checkpoint import read_latest
from air.runs.result import read_result
from tests.helpers.repository import REPOSITORY
from tests.helpers.training_process import start, wait_for

LAUNCHERS = {
    "air_joblib": "hydra_joblib_launcher",
    "air_submitit_local": "hydra_submitit_launcher",
    "air_submitit_slurm": "hydra_submitit_launcher",
    "air_ray": "hydra_ray_launcher",
}
SWEEPERS = {"air_optuna": "hydra_optuna_sweeper"}
PRESETS = {"launcher": LAUNCHERS, "sweeper": SWEEPERS}


def installed(plugin):
    return importlib.util.find_spec(f"hydra_plugins.{plugin}") is not None


def need(plugin):
    if not installed(plugin):
        pytest.skip(f"{plugin} is not installed: it is an extra of its own")


def sweep_in(folder, train_command, *overrides, check=False):
    process = start(
        folder.parent, "-m", *train_command.smoke, f"hydra.sweep.dir={folder}", *overrides
    )
    output, _ = process.communicate(timeout=900)
    assert not check or process.returncode == 0, output
    return process.returncode, output


def see_one_failed_and_two_finished(folder, result, seeds=(0, 1)):
    """Check what the sweep of one refused job and two good ones leaves, with any launcher."""
    status, output = result
    assert status == 1, output
    assert "error: 1 job of the sweep failed:\n  job 0 (experiment=smoke" in output
    assert "Traceback" not in output
    assert read_result(folder / "0").status == "failed"
    for job, seed in zip("12", seeds, strict=True):
        assert read_result(folder / job).status == "finished"
        assert read_latest(folder / job)[1].config["seed"] == seed
    hydra = yaml.safe_load((folder / "multirun.yaml").read_text())["hydra"]
    assert hydra["overrides"]["task"][-1].startswith("seed=")
    assert str(folder) in hydra["overrides"]["hydra"][-1]


def the_presets_of_the_repository():
    return [
        (kind, path.stem)
        for kind in PRESETS
        for path in sorted((REPOSITORY / "conf" / "hydra" / kind).glob("*.yaml"))
    ]


@pytest.mark.parametrize(("kind", "name"), the_presets_of_the_repository())
def test_a_preset_extends_the_plugins_own_or_names_its_extra(kind, name):
    from hydra import compose, initialize_config_dir
    from hydra.errors import MissingConfigException

    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        if installed(PRESETS[kind][name]):
            hydra = compose("config", [f"hydra/{kind}={name}"], return_hydra_config=True).hydra
            assert PRESETS[kind][name] in hydra[kind]["_target_"]
            return
        with pytest.raises(MissingConfigException) as caught:
            compose("config", [f"hydra/{kind}={name}"], return_hydra_config=True)
    extra = name.split("_")[1]
    line = user_error_line(caught.value)
    assert line == (
        f"hydra/{kind}: {extra} is not installed; this needs the extra {extra!r}: "
        f'pip install -e ".[{extra}]"'
    )


def test_every_preset_is_in_the_readme_and_the_help_and_has_its_extra():
    readme = (REPOSITORY / "scripts" / "README.md").read_text(encoding="utf-8")
    setup = (REPOSITORY / "setup.cfg").read_text(encoding="utf-8")
    help_text = (REPOSITORY / "conf" / "config.yaml").read_text(encoding="utf-8")
    presets = the_presets_of_the_repository()
    assert len(presets) == len(LAUNCHERS) + len(SWEEPERS)
    for kind, name in presets:
        assert f"hydra/{kind}={name}" in readme
        assert name in help_text
        assert re.search(rf"^{name.split('_')[1]} =$", setup, re.MULTILINE)


# --- real launches --------------------------------------------------------------------------------


@pytest.mark.slow
def test_joblib(train_command, tmp_path):
    need("hydra_joblib_launcher")
    result = sweep_in(tmp_path / "sweep", train_command, "hydra/launcher=air_joblib", "seed=-1,0,1")
    see_one_failed_and_two_finished(tmp_path / "sweep", result)


@pytest.mark.slow
def test_a_joblib_sweep_that_was_killed_goes_on(train_command, tmp_path):
    need("hydra_joblib_launcher")
    folder = tmp_path / "sweep"
    longer = (
        "hydra/launcher=air_joblib",
        "hydra.launcher.n_jobs=2",
        "train.num_iterations=60",
        "train.save_every=10",
        "seed=0,1,2",
    )
    process = start(tmp_path, "-m", *train_command.smoke, f"hydra.sweep.dir={folder}", *longer)
    wait_for((folder / "0" / "checkpoints" / "00000010.pt").exists, process)
    family = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    for child in family:
        child.kill()
    process.communicate()
    assert read_result(folder / "0") is None
    _, output = sweep_in(folder, train_command, *longer, check=True)
    assert "resumed at iteration" in output
    results = [read_result(folder / job) for job in "012"]
    assert [(each.status, each.iteration) for each in results] == [("finished", 60)] * 3


@pytest.mark.slow
def test_submitit_local(train_command, tmp_path):
    need("hydra_submitit_launcher")
    result = sweep_in(
        tmp_path / "sweep", train_command, "hydra/launcher=air_submitit_local", "seed=-1,0,1"
    )
    see_one_failed_and_two_finished(tmp_path / "sweep", result)


@pytest.mark.slow
def test_a_job_that_submitit_preempts_goes_on(train_command, tmp_path):
    need("hydra_submitit_launcher")
    folder = tmp_path / "sweep"
    longer = ("train.num_iterations=60", "train.save_every=10", "seed=0")
    process = start(
        tmp_path,
        "-m",
        *train_command.smoke,
        f"hydra.sweep.dir={folder}",
        "hydra/launcher=air_submitit_local",
        *longer,
    )
    wait_for((folder / "0" / "checkpoints" / "00000010.pt").exists, process)
    (job,) = [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if "submitit.core._submit" in child.cmdline()
    ]
    job.send_signal(signal.SIGUSR2)  # what Slurm sends before the time is up
    output, _ = process.communicate(timeout=900)
    assert process.returncode == 0, output
    assert "resumed at iteration" in (folder / "0" / "train.log").read_text()
    assert read_result(folder / "0").iteration == 60


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A Slurm of this machine alone, from Debian's slurmctld, slurmd, slurm-client and munge."""
    if not all(map(shutil.which, ("slurmctld", "slurmd", "munged", "srun"))) or os.getuid():
        pytest.skip("needs root, and Debian's slurmctld, slurmd, slurm-client and munge")
    home = tmp_path / "slurm"
    for folder in ("state", "spool"):
        (home / folder).mkdir(parents=True)
    (home / "munge.key").write_bytes(os.urandom(128))
    (home / "munge.key").chmod(0o600)
    ports = [free_port(), free_port()]
    host = socket.gethostname()
    (home / "slurm.conf").write_text(
        f"""
ClusterName=here
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={home}/munge.socket
StateSaveLocation={home}/state
SlurmdSpoolDir={home}/spool
SlurmctldPidFile={home}/slurmctld.pid
SlurmdPidFile={home}/slurmd.pid
SlurmctldLogFile={home}/slurmctld.log
SlurmdLogFile={home}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MailProg=/bin/true
NodeName={host} NodeAddr=127.0.0.1 CPUs={os.cpu_count()}
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
    )
    monkeypatch.setenv("SLURM_CONF", str(home / "slurm.conf"))
    names = ("socket", "key-file", "pid-file", "log-file", "seed-file")
    files = ("munge.socket", "munge.key", "munged.pid", "munged.log", "munged.seed")
    options = [f"--{name}={home / file}" for name, file in zip(names, files, strict=True)]
    # In the foreground, so that each is this test's own child.
    commands = (
        ["munged", "--force", "--foreground", *options],
        ["slurmctld", "-D", "-c"],
        ["slurmd", "-D", "-c"],
    )
    daemons = []
    try:
        for command in commands:
            daemons.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
            time.sleep(1)
        wait_for(lambda: subprocess.run(["srun", "true"], timeout=60).returncode == 0, daemons[1])
        yield
        # A job's last process outlives the daemons if it cannot tell them that it ended.
        wait_for(lambda: not subprocess.check_output(["squeue", "-h"]), daemons[1])
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait(timeout=60)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.mark.slow
def test_slurm(slurm, train_command, tmp_path):
    need("hydra_submitit_launcher")
    result = sweep_in(
        tmp_path / "sweep",
        train_command,
        "hydra/launcher=air_submitit_slurm",
        "hydra.launcher.cpus_per_task=1",
        "hydra.launcher.partition=all",
        "seed=-1,0,1",
    )
    see_one_failed_and_two_finished(tmp_path / "sweep", result)
    (script,) = set(path.read_text() for path in (tmp_path / "sweep" / ".submitit").glob("*/*.sh"))
    for line in ("--array=0-2", "--cpus-per-task=1", "--job-name=smoke", "--partition=all"):
        assert f"#SBATCH {line}" in script
    assert "#SBATCH --signal=USR2@120" in script


@pytest.mark.slow
def test_a_job_that_slurm_preempts_is_queued_again_and_goes_on(slurm, train_command, tmp_path):
    need("hydra_submitit_launcher")
    folder = tmp_path / "sweep"
    process = start(
        tmp_path,
        "-m",
        *train_command.smoke,
        f"hydra.sweep.dir={folder}",
        "hydra/launcher=air_submitit_slurm",
        "hydra.launcher.cpus_per_task=1",
        "train.num_iterations=60",
        "train.save_every=10",
        "seed=0",
    )
    wait_for((folder / "0" / "checkpoints" / "00000010.pt").exists, process)
    queue = subprocess.run(["squeue", "-h", "-o", "%i"], capture_output=True, text=True, check=True)
    subprocess.run(["scancel", "--signal=USR2", *queue.stdout.split()], check=True)
    # Slurm lets a job that is queued again wait for two minutes.
    output, _ = process.communicate(timeout=900)
    assert process.returncode == 0, output
    assert "resumed at iteration" in (folder / "0" / "train.log").read_text()
    assert read_result(folder / "0").iteration == 60


@pytest.mark.slow
def test_ray(train_command, tmp_path):
    need("hydra_ray_launcher")
    result = sweep_in(tmp_path / "sweep", train_command, "hydra/launcher=air_ray", "seed=-1,0,1")
    see_one_failed_and_two_finished(tmp_path / "sweep", result)


@pytest.mark.slow
def test_optuna_goes_on_where_it_was_stopped(train_command, tmp_path):
    need("hydra_optuna_sweeper")
    folder = tmp_path / "sweep"
    search = (
        "hydra/sweeper=air_optuna",
        "train.num_iterations=4",
        "optim.lr=tag(log,interval(1e-4,1e-2))",
        "seed=choice(-1,0)",
    )
    status, _ = sweep_in(folder, train_command, *search, "hydra.sweeper.n_trials=4")
    first = [read_result(folder / job) for job in "0123"]
    failed = [job for job, each in zip("0123", first, strict=True) if each.status == "failed"]
    assert 0 < len(failed) < 4
    assert status == 1
    (finished, *_) = [job for job in "0123" if job not in failed]
    before = (folder / finished / "metrics.jsonl").read_bytes()
    lost = [job for job in "0123" if job not in failed][-1]
    shutil.rmtree(folder / lost)  # as if the sweep had been killed before this trial

    _, output = sweep_in(folder, train_command, *search, "hydra.sweeper.n_trials=5")
    assert "other overrides" not in output
    assert [read_result(folder / job) for job in "0123"] == first
    assert (folder / "4" / "result.json").exists()
    if finished != lost:
        assert (folder / finished / "metrics.jsonl").read_bytes() == before
    values = [each.metric if each.status == "finished" else -math.inf for each in first]
    studies = studies_in(folder / "study.db")
    assert [found[:4] for found in studies.values()] == [values, values]
    assert [len(found) for found in studies.values()] == [4, 5]


@pytest.mark.slow
def test_a_study_of_the_users_own_is_continued(train_command, tmp_path):
    need("hydra_optuna_sweeper")
    for name in ("one", "other"):
        sweep_in(
            tmp_path / name,
            train_command,
            "hydra/sweeper=air_optuna",
            f"hydra.sweeper.storage=sqlite:///{tmp_path}/mine.db",
            "hydra.sweeper.study_name=mine",
            "hydra.sweeper.n_trials=2",
            "train.num_iterations=2",
            "optim.lr=interval(1e-4,1e-2)",
            check=True,
        )
    (values,) = studies_in(tmp_path / "mine.db").values()
    assert len(values) == 4


def studies_in(file):
    """The values of every study in Optuna's file, by name; not read by Optuna 2, which warns."""
    studies = {}
    with contextlib.closing(sqlite3.connect(file)) as database:
        for name, value in database.execute(
            "select study_name, value from studies join trials using (study_id) "
            "join trial_values using (trial_id) order by study_id, trials.number"
        ):
            studies.setdefault(name, []).append(value)
    return studies
