"""Compiled steps against those that are played back, and what compiling asks for."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.graph import CodeGen

from air.acceleration import compiling
from air.acceleration.compiling import compile_recording, lift_constants, missing_for_compiling
from air.acceleration.ordering import in_order
from air.acceleration.recording import RecordedGradients
from air.acceleration.threads import computing_with
from air.cli.compose import compose_config
from air.errors import ConfigError
from air.inference.marginal import MarginalELBO
from air.inference.objective import Objective
from air.inference.reinforce import ReinforceELBO
from air.inference.sleep import SleepPhase
from air.runs.checkpoint import read_latest
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
    sleep = SleepPhase(0.5, 3, max_objects=2, codes="posterior", num_places=3)
    return Objective(MarginalELBO(), [sleep]), {"embed_channels": [2], "embed_net": [4]}


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
@pytest.mark.parametrize("case", [marginal_of_one_step, reinforce_with_a_baseline, marginal_asleep])
def test_a_compiled_step_is_the_recorded_one_but_for_rounding(case):
    assert_compiled_is_recorded(*case())


@pytest.mark.parametrize("case", [reinforce_with_a_baseline, marginal_asleep])
def test_what_the_compiler_gets_is_the_recorded_step(monkeypatch, case):
    def leave_uncompiled(recording, inputs):
        ordered = GraphModule(recording, in_order(recording))
        return lambda inputs: list(ordered(*inputs))

    monkeypatch.setattr("air.acceleration.recording.compile_recording", leave_uncompiled)
    assert_compiled_is_recorded(*case())


def small_recording(factor=2.0, rows=3):
    """A step with noise, a constant, a result that is None, and one that is there twice."""
    weights, unused = torch.ones(4, 2, requires_grad=True), torch.ones(1, requires_grad=True)
    rising = torch.linspace(0, 1, 2)
    inputs = [weights, unused, torch.ones(rows, 4)]

    def program(weights, unused, batch):
        noise = torch.randn(len(batch), 2)
        value = (factor * (batch @ weights).sigmoid() * noise * rising).sum()
        gradients = torch.autograd.grad(value, [weights, unused], allow_unused=True)
        return [*gradients, value, value, rising]

    with torch.random.fork_rng():
        recording = make_fx(program)(*inputs)
    recording.graph.eliminate_dead_code()
    return recording, inputs


def played(step):
    torch.manual_seed(0)
    with torch.no_grad():
        return [*step(), torch.rand(1)]


def same(one, other):
    return all(
        mine is theirs if mine is None else torch.equal(mine, theirs)
        for mine, theirs in zip(one, other, strict=True)
    )


@pytest.mark.slow
@needs_a_compiler
def test_a_step_that_is_kept_is_the_one_that_was_compiled(monkeypatch, tmp_path, caplog):
    """Also where PyTorch has moved what it is compiled, packed and loaded by."""
    caplog.set_level("INFO")
    monkeypatch.setenv("AIR_CACHE_DIR", str(tmp_path))
    recording, inputs = small_recording()
    expected = played(lambda: recording(*inputs))
    compiled, loaded = (compile_recording(small_recording()[0], inputs) for _ in range(2))
    assert [message.partition(":")[0] for message in caplog.messages if "step" in message] == [
        "compiling the step, which takes about a minute; the next run need not",
        "the step is compiled already",
    ]
    results = played(lambda: compiled(inputs))
    assert same(played(lambda: loaded(inputs)), results)
    torch.testing.assert_close(results, expected)
    inputs[2] = torch.ones(4, 3).t()  # other strides than were compiled for
    assert same(played(lambda: compiled(inputs)), results)


@needs_a_compiler
@pytest.mark.slow  # a minute or two
def test_another_process_loads_the_step_and_gets_the_same_numbers(
    train_command, data_root, tmp_path
):
    overrides = ("experiment=smoke", f"data.root={data_root}", "train.num_pictures=0")
    overrides += ("train.step=compiled", "model=pixels", "inference=reinforce")
    for name, seed in (("compiled", "0"), ("loaded", "1")):
        variables = {"AIR_CACHE_DIR": str(tmp_path / "cache"), "PYTHONHASHSEED": seed}
        run = train_command(*overrides, f"hydra.run.dir={tmp_path / name}", env=variables)
        assert ("compiling the step" in run.stdout) is (name == "compiled")
        assert ("the step is compiled already" in run.stdout) is (name == "loaded")
    compiled, loaded = (read_latest(tmp_path / name)[1] for name in ("compiled", "loaded"))
    assert compiled.iteration == loaded.iteration == 20
    for name, tensor in compiled.model.items():
        assert torch.equal(tensor, loaded.model[name]), name


def test_tensors_of_a_recording_are_handed_in():
    recording, inputs = small_recording()
    expected = played(lambda: recording(*inputs))
    constants = lift_constants(recording)
    recording.graph.set_codegen(CodeGen())
    flat = GraphModule({}, recording.graph)
    assert same(played(lambda: flat(*inputs, *constants)), expected)


@pytest.fixture
def key_of(monkeypatch):
    class Asked(Exception):
        pass

    def ask(key, compile_step):
        raise Asked(key)

    monkeypatch.setattr(compiling, "kept_step", ask)

    def key_of(recording, inputs):
        with pytest.raises(Asked) as asked:
            compile_recording(recording, inputs)
        return str(asked.value)

    return key_of


@needs_a_compiler
def test_the_key_is_of_all_that_decides(key_of, monkeypatch, tmp_path):
    key = key_of(*small_recording())
    assert key_of(*small_recording()) == key
    recording, inputs = small_recording()
    others = [
        key_of(*small_recording(factor=2.0000001)),
        key_of(*small_recording(rows=2)),
        key_of(recording, [each.double() for each in inputs]),
    ]
    with computing_with(torch.get_num_threads() + 1):
        others.append(key_of(*small_recording()))
    with monkeypatch.context() as patch:
        patch.setattr(torch, "__version__", "2.99")
        others.append(key_of(*small_recording()))
    compiler = tmp_path / "c++"
    compiler.write_text("#!/bin/sh\necho another version >&2")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    others.append(key_of(*small_recording()))
    assert len({key, *others}) == 1 + len(others)


PRINT_KEY = """
from torch.fx.experimental.proxy_tensor import make_fx
import torch
from air.acceleration import compiling
compiling.kept_step = lambda key, compile_step: exit(key)
compiling.compile_recording(make_fx(lambda x: (-x,))(torch.ones(2)), [torch.ones(2)])
"""


@pytest.mark.slow
@needs_a_compiler
def test_the_key_is_of_the_compilers_settings_but_not_of_the_working_folder(tmp_path):
    def key(folder, **settings):
        result = subprocess.run(
            [sys.executable, "-c", PRINT_KEY],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **settings},
            capture_output=True,
            text=True,
            check=False,
        )
        return result.stderr.splitlines()[-1]

    here = key(Path.cwd())
    assert len(here) == 64
    assert key(tmp_path) == here
    assert key(tmp_path, TORCHINDUCTOR_MAX_AUTOTUNE="1") != here


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setenv("CXX", sys.executable)
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
