"""What a scheduler sees: the README's batch script, and sweeps that are told to stop or killed."""

import os
import re
import shutil
import signal
import subprocess

import pytest

from air.runs.checkpoint import numbered_checkpoints
from air.runs.result import read_result
from air.tracking.jsonl import read_metrics
from tests.helpers.killing import assert_same_run
from tests.helpers.repository import REPOSITORY
from tests.helpers.training_process import start, wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="Windows has no SIGUSR1"),
]


def has_logged(run_dir):
    metrics = run_dir / "metrics.jsonl"
    return lambda: metrics.exists() and bool(read_metrics(metrics))


@pytest.fixture
def slurm(tmp_path):
    """An environment with stand-ins for the two commands of Slurm that the script uses."""
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, text in {
        "srun": 'echo $$ > pid\nexec "$@" $LAST',
        "scontrol": 'echo "$@" >> requests',
    }.items():
        (commands / name).write_text(f"#!/bin/bash\n{text}\n")
        (commands / name).chmod(0o755)
    for folder in ("scripts", "conf"):
        shutil.copytree(REPOSITORY / folder, tmp_path / folder)
    return {**os.environ, "PATH": f"{commands}:{os.environ['PATH']}", "SLURM_JOB_ID": "7"}


def test_the_batch_script_of_the_readme_asks_to_be_queued_again(slurm, data_root, tmp_path):
    (script,) = re.findall(
        r"```bash\n(#!/bin/bash\n#SBATCH.*?)```",
        (REPOSITORY / "scripts" / "README.md").read_text(),
        re.DOTALL,
    )
    small = f"experiment=smoke data.root={data_root} train.step=eager"
    assert "experiment=accurate" in script
    (tmp_path / "job.sh").write_text(script.replace("experiment=accurate", small))
    run_dir = tmp_path / "outputs" / "runs" / "slurm-7"

    def submit(last):
        return subprocess.Popen(["bash", "job.sh"], cwd=tmp_path, env={**slurm, "LAST": last})

    first = submit("train.num_iterations=100000")
    wait_for(has_logged(run_dir), first)
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGUSR1)
    assert first.wait(120) == 75
    stopped = read_result(run_dir)
    assert stopped.status == "stopped"
    again = submit(f"train.num_iterations={stopped.iteration + 3}")
    assert again.wait(120) == 0
    assert read_result(run_dir).status == "finished"
    assert read_result(run_dir).iteration == stopped.iteration + 3
    assert (tmp_path / "requests").read_text() == "requeue 7\n"
    assert submit("train.batch_size=0").wait(120) == 1  # a failure is one for Slurm, too


def test_a_sweep_that_is_told_to_stop_saves_its_job_and_starts_no_other(train_command, tmp_path):
    sweep = tmp_path / "sweep"
    process = start(
        *(tmp_path, "-m", *train_command.smoke, "train.num_iterations=100000", "seed=0,1"),
        f"hydra.sweep.dir={sweep}",
    )
    wait_for(has_logged(sweep / "0"), process)
    process.send_signal(signal.SIGUSR1)
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 75, output
    assert read_result(sweep / "0").status == "stopped"
    assert not (sweep / "1" / "config.yaml").exists()


def test_a_sweep_killed_and_started_again_runs_only_what_is_unfinished(train_command, tmp_path):
    whole, folder = tmp_path / "whole", tmp_path / "killed"
    asked = ("-m", *train_command.smoke, "train.num_iterations=40", "train.save_every=5")
    asked += ("seed=0,1", "train.num_pictures=1")
    train_command(*asked, f"hydra.sweep.dir={whole}")
    for job in ("0", "1"):  # killed while it trains, with all jobs before it finished
        process = start(tmp_path, *asked, f"hydra.sweep.dir={folder}")
        wait_for(lambda job=job: numbered_checkpoints(folder / job), process)
        process.kill()
        process.communicate()
    first = folder / "0" / "result.json"
    before = first.stat().st_mtime_ns
    said = train_command(*asked, f"hydra.sweep.dir={folder}").stdout
    assert f"job 0 has finished before: {first.parent}" in said
    assert first.stat().st_mtime_ns == before
    for job in ("0", "1"):
        assert_same_run(whole / job, folder / job)
