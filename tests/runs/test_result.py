"""How a run ended, read back from its folder."""

import pytest

from air.cli.compose import compose_config
from air.errors import NonFiniteLossError
from air.runs.result import RESULT_FILE, RunResult, failure, read_result, write_result
from air.training.run import train


def test_a_result_is_read_back_whole_or_not_at_all(tmp_path):
    assert read_result(tmp_path) is None
    result = RunResult("finished", 20, 0.25, {"val/elbo": -1.5, "iterations": 20}, None, "all 0")
    write_result(tmp_path, result)
    assert read_result(tmp_path) == result
    path = tmp_path / RESULT_FILE
    path.write_bytes(path.read_bytes()[:-9])
    assert read_result(tmp_path) is None


def test_a_finished_run_says_what_it_measured(smoke_run):
    result = read_result(smoke_run)
    assert result.status == "finished"
    assert result.iteration == result.summary["iterations"] == 20
    assert result.metric == result.summary["val/count_accuracy"]


def test_a_failed_run_says_why_and_a_resumed_one_forgets_it(data_root, tmp_path):
    smoke = ("experiment=smoke", f"data.root={data_root}", "train.step=eager")
    bad = compose_config((*smoke, "optim.lr=1e30"))
    with pytest.raises(NonFiniteLossError) as error:
        train(bad, tmp_path / "run", [])
    result = read_result(tmp_path / "run")
    assert result.status == "failed"
    assert result.error == str(error.value)
    assert 0 < result.iteration < 20
    good = compose_config((*smoke, f"resume={tmp_path / 'run'}"))
    train(good, tmp_path / "run", [])
    assert read_result(tmp_path / "run").status == "finished"


def test_an_error_that_is_not_ours_is_named_by_its_kind():
    assert failure(ZeroDivisionError("by\n0"), 3).error == "ZeroDivisionError: by 0"
