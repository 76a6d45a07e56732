"""Compiled steps against those that are played back, and what compiling asks for."""

import sys
import sysconfig

import pytest
import torch

from air.acceleration.compiling import missing_for_compiling
from air.acceleration.recording import RecordedGradients
from air.cli.compose import compose_config
from air.errors import ConfigError
from air.inference.marginal import MarginalELBO
from air.inference.objective import Objective
from air.inference.reinforce import ReinforceELBO
from air.inference.search import CountSearch
from air.inference.sleep import SleepPhase
from air.training.gradients import check_step
from tests.helpers.compiler import needs_a_compiler
from tests.helpers.gradients import PROBABILITIES, taken
from tests.helpers.models import tiny

DARK = torch.zeros(3, 5, 6, 6)
DARK[:2, :, 2:4, 3] = torch.tensor([0.4, 0.9])  # and the third batch is all black


def marginal_of_one_step():
    return Objective(MarginalELBO()), {"num_steps": 1}


def reinforce_with_a_baseline():
    return Objective(ReinforceELBO()), {"use_baselines": True, "bl_predict_net": [3]}


def marginal_asleep():
    sleep = SleepPhase(0.5, 3, max_objects=2, codes="posterior")
    return Objective(MarginalELBO(), [sleep]), {"embed_channels": [2], "embed_net": [4]}


def marginal_searching():
    return Objective(MarginalELBO(), [CountSearch(0.5, 2, 2, margin=0.0)]), {}


def assert_compiled_is_recorded(objective, arguments):
    model = tiny(**arguments)
    played, compiled = (
        taken(gradients, model, DARK, probabilities=PROBABILITIES[: model.num_steps])
        for gradients in (
            RecordedGradients(objective, model, DARK[0]),
            RecordedGradients(objective, model, DARK[0], compiled=True),
        )
    )
    torch.testing.assert_close(compiled, played, rtol=1e-4, atol=1e-4)


@needs_a_compiler
@pytest.mark.slow  # half a minute each
@pytest.mark.parametrize(
    "case", [marginal_of_one_step, reinforce_with_a_baseline, marginal_asleep, marginal_searching]
)
def test_a_compiled_step_is_the_recorded_one_but_for_rounding(case):
    assert_compiled_is_recorded(*case())


def test_what_the_compiler_gets_is_the_recorded_step(monkeypatch):
    compile_for_real = torch.compile

    def capture(recording, *, fullgraph, dynamic, options):
        assert options["fallback_random"]
        return compile_for_real(
            recording, fullgraph=fullgraph, dynamic=dynamic, backend="aot_eager"
        )

    monkeypatch.setattr(torch, "compile", capture)
    assert_compiled_is_recorded(*reinforce_with_a_baseline())


def test_what_is_missing_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    monkeypatch.setenv("CXX", sys.executable)
    assert "Python.h" in missing_for_compiling()
    (tmp_path / "Python.h").touch()
    assert missing_for_compiling() is None
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert "no-such-compiler" in missing_for_compiling()
    with pytest.raises(ConfigError, match=r"train\.step: .* lacks .*no-such-compiler"):
        check_step(compose_config(("train.step=compiled",)), torch.device("cpu"))


def test_it_is_for_the_cpu():
    cuda = torch.device("cuda")
    with pytest.raises(ConfigError, match=r"train\.step: must be recorded on a GPU"):
        check_step(compose_config(("train.step=compiled",)), cuda)
    check_step(compose_config(()), cuda)


def test_it_needs_a_recording():
    overrides = ("train.step=compiled", "inference=reinforce", "baseline=moving_average")
    with pytest.raises(ConfigError, match=r"train\.step: .*baseline=moving_average"):
        check_step(compose_config(overrides), torch.device("cpu"))
