"""Gradients at fixed parameters: what is measured against known moments, and the command."""

import csv
import dataclasses

import pytest
import torch

from air.benchmark.config import GradientsConfig
from air.benchmark.gradient_noise import Parameters, measure_noise
from air.benchmark.gradient_slopes import measure_slopes
from air.benchmark.gradients import compare_gradients
from air.cli.compose import compose_config
from air.config.parsing import parse_as
from air.data.scenes import Scenes
from air.errors import CheckpointError, ConfigError
from tests.helpers.estimators import ESTIMATORS
from tests.helpers.in_process import run_script
from tests.helpers.options import values_of

SMALL = ("experiment=smoke", "attention=recurrent", "data.num_train=64", "data.num_test=64")
FEW = {"num_images": 4, "num_draws": 2, "num_slopes": 2, "baseline_iterations": 2}


def settings(**changed):
    return parse_as(GradientsConfig, {**values_of("gradients"), **FEW, **changed})


@pytest.fixture(scope="module")
def parameters():
    torch.manual_seed(0)
    run = compose_config((*SMALL, "model.num_steps=2"))
    scenes = Scenes(torch.rand(64, 50, 50).round(), None, None, None)
    return Parameters("here", 0, run, run.build_model(50), scenes)


def test_means_and_variances_are_those_of_the_estimators(parameters):
    """Without a bias the distance is as large as the draws' own error; a relaxed one's is not."""
    names = ("marginal", "mvd", "rebar", "reinforce", "relaxed")
    runs = {name: compose_config((*SMALL, f"inference={name}")) for name in names}
    few = settings(num_draws=30)
    rows = {row.estimator: row for row in measure_noise(parameters, runs["marginal"], runs, few)}
    assert list(rows) == list(names)
    assert rows["relaxed"].objective == "relaxed"
    assert rows["relaxed"].guide_off > 2 * rows["relaxed"].guide_error
    for name in ("marginal", "mvd", "rebar", "reinforce"):
        assert rows[name].objective == "elbo"
        assert rows[name].guide_off < 3 * rows[name].guide_error
    assert rows["marginal"].guide_variance < rows["mvd"].guide_variance
    assert rows["mvd"].guide_variance < rows["rebar"].guide_variance
    assert rows["rebar"].guide_variance < rows["reinforce"].guide_variance
    assert all(row.milliseconds > 0 for row in rows.values())


def test_baselines_need_not_be_those_of_the_run(parameters):
    run, other = (
        compose_config((*SMALL, "model.num_steps=2", "inference=reinforce", f"baseline={baseline}"))
        for baseline in ("neural_linear", "neural")
    )
    trained = dataclasses.replace(parameters, config=run, air=run.build_model(50))
    rows = list(measure_noise(trained, parameters.config, {"other": other}, settings()))
    assert [row.estimator for row in rows] == ["other"]


def test_along_its_gradient_the_elbo_is_as_steep_as_said_with_the_papers_attention(parameters):
    before = [value.clone() for value in parameters.air.parameters()]
    rows = list(measure_slopes(parameters, settings(num_slopes=3)))
    assert {row.part for row in rows} >= {"model.decode", "guide.attention", "guide.encode"}
    for row in rows:
        # The step is not infinitely short, and meets the corners of activations.
        assert abs(row.ratio - 1) < 3 * row.error + 2e-3, row
    assert all(map(torch.equal, before, parameters.air.parameters()))


def test_the_command_compares_checkpoints_of_a_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "run"
    overrides = [*SMALL, "train.num_iterations=4", "train.keep_at=[0]", "model.num_steps=1"]
    overrides += ["train.step=eager"]
    for command in (
        ["train", *overrides, f"hydra.run.dir={run}"],
        [
            "gradients",
            f"run={run}",
            "which=[0,latest]",
            "num_images=4",
            "num_draws=2",
            "num_slopes=2",
            "baseline_iterations=2",
            "formats=[png]",
            "only=[marginal,reinforce_neural,average]",
            "+estimators.average=inference=reinforce baseline=moving_average",
        ],
    ):
        done = run_script(*command)
        assert done.returncode == 0, done.stderr
    with (run / "gradients" / "noise.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["iteration"], row["estimator"]) for row in rows] == [
        (iteration, name)
        for iteration in ("0", "4")
        for name in ("marginal", "reinforce_neural", "average")
    ]
    assert (run / "gradients" / "noise.png").exists()
    assert (run / "gradients" / "slopes.csv").exists()
    with pytest.raises(CheckpointError, match=r"which: must be .* got 3"):
        compare_gradients(settings(run=str(run), which=[3]))
    with pytest.raises(ConfigError, match="overrides: must be empty with a run"):
        compare_gradients(settings(run=str(run), overrides="seed=1"))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"only": ["b"]}, "only: must be among the estimators, marginal, reinforce, "),
        ({"which": [0]}, "which: must be latest without a run, got [0]"),
        ({"estimators": {"a": "sleep=none"}}, "estimators.a: must set inference and baseline"),
        ({"estimators": {"a": "inference=b"}}, "inference: must be one of"),
        ({"estimators": {"a": "'inference=b"}}, "estimators.a: must be as on a command line"),
        ({"overrides": "model.use_masking=false"}, "model.use_masking: must be true with"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_measured(tmp_path, changed, message):
    given = {**changed, "overrides": " ".join([*SMALL, changed.get("overrides", "")])}
    with pytest.raises(ConfigError) as error:
        compare_gradients(settings(output=str(tmp_path / "out"), **given))
    assert message in str(error.value)
    assert not (tmp_path / "out").exists()


def test_every_estimator_is_compared():
    overrides = " ".join(values_of("gradients")["estimators"].values()).split()
    names = {word.removeprefix("inference=") for word in overrides if "inference=" in word}
    assert names == set(ESTIMATORS)
