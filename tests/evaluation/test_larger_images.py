"""Evaluators on images of another size than the model's, where it takes any."""

import pytest
import torch
from torch.distributions import Normal

from air.cli.compose import compose_config
from air.config.parsing import parse_as
from air.data.scenes import Scenes
from air.errors import ConfigError
from air.evaluation.bound import bound
from air.evaluation.boxes import boxes
from air.evaluation.config import EvaluateConfig
from air.evaluation.counts import counts
from air.evaluation.elbo import elbo
from air.evaluation.generalisation import shown
from air.evaluation.reconstruction import reconstruction
from air.evaluation.segmentation import segmentation
from air.evaluation.subject import Subject, infer_in_batches
from air.runs.trained import TrainedRun
from air.training.run import train
from tests.helpers.any_size import CORNERS, LARGE, LEFT, SMALL, SPOT, TOP, any_size, on_larger
from tests.helpers.any_size import scenes as spots
from tests.helpers.in_process import run_script
from tests.helpers.models import tiny
from tests.helpers.options import values_of


def measured(air, scenes):
    settings = {
        **values_of("evaluate"),
        "run": "nowhere",
        "bound": {"num_samples": [1], "num_images": 2},
    }
    config = parse_as(EvaluateConfig, settings)
    found = infer_in_batches(air, scenes.images, config, "inferring")
    run = TrainedRun("nowhere", None, air, 1, lambda t: 0.5)
    subject = Subject(run, scenes, found, config)
    return {
        f"{evaluator.__name__}/{name}": value
        for evaluator in (counts, elbo, bound, reconstruction, boxes, segmentation)
        for name, value in evaluator(subject)
    }


def test_every_evaluator_sees_the_same_objects_on_a_larger_canvas():
    torch.manual_seed(0)
    air, images = any_size().float(), spots(4).float()
    with torch.no_grad():  # what is found is right: three objects that fill their windows
        air.guide.attention.presence.layers[-1].bias.fill_(9.0)
        air.decode.mlp.layers[-1].bias.fill_(9.0)
    corners = torch.tensor([(column, row) for row, column in CORNERS]).expand(4, -1, -1).float()
    true = torch.cat((corners, corners + SPOT), -1)
    masks = torch.zeros(4, SMALL, SMALL, dtype=torch.long)
    for i, (row, column) in enumerate(CORNERS):
        masks[:, row : row + SPOT, column : column + SPOT] = i + 1
    count = torch.full((4,), 3)
    small = measured(air, Scenes(images, count, None, true, masks))
    shift = torch.tensor([LEFT, TOP, LEFT, TOP])
    large = measured(air, Scenes(on_larger(images), count, None, true + shift, on_larger(masks)))
    assert small["counts/accuracy"] == large["counts/accuracy"] == 1
    assert small["segmentation/foreground_ari"] == large["segmentation/foreground_ari"] > 0.9
    for name in ("mean_iou", "tight_mean_iou", "precision", "average_precision_50"):
        assert large[f"boxes/{name}"] == pytest.approx(small[f"boxes/{name}"], abs=1e-5)
    assert small["boxes/mean_iou"] == pytest.approx(9 / 16, abs=1e-5)  # windows of 4 pixels
    error = "reconstruction/squared_error"
    assert large[error] * LARGE**2 == pytest.approx(small[error] * SMALL**2, rel=1e-4)
    # The likelihood gains the black pixels, and z_where hardly varies.
    black = (LARGE**2 - SMALL**2) * Normal(0.0, air.model.likelihood.sd).log_prob(torch.zeros(()))
    gained = large["elbo/likelihood"] - small["elbo/likelihood"]
    assert gained == pytest.approx(black.item(), abs=0.1)
    assert large["elbo/kl_what"] == pytest.approx(small["elbo/kl_what"], rel=0.01)
    assert large["bound/k_1"] == pytest.approx(large["elbo/elbo"], rel=0.02)


def test_a_run_says_which_sizes_its_model_takes():
    for air, other, message in (
        (tiny(), 7, "data: must have images of 6 pixels as in training, got 7"),
        (any_size(), 3, "data: must have images of at least 4 pixels, got 3"),
    ):
        run = TrainedRun("nowhere", None, air, 1, lambda t: 0.5)
        run.check_images(air.x_size, 1)
        with pytest.raises(ConfigError, match=message):
            run.check_images(other, 1)


def test_commands_refuse_another_size_where_the_attention_has_one(data_root, tmp_path):
    run = tmp_path / "run"
    overrides = ["experiment=smoke", "attention=recurrent", f"data.root={data_root}"]
    overrides += ["train.num_iterations=1", "train.num_pictures=0", "train.step=eager"]
    train(compose_config(overrides), run, [])
    for script in ("evaluate", "visualize"):
        result = run_script(script, f"run={run}", "data=multi_mnist", "data.canvas_size=60")
        assert result.returncode == 1
        assert result.stderr.startswith("error: data: must have images of 50")
        assert len(result.stderr.splitlines()) == 1


def test_larger_canvases_are_shown_as_they_are_where_that_can_be():
    images = torch.rand(2, LARGE, LARGE)
    assert shown(any_size(), images) is images
    assert shown(tiny(x_size=SMALL), images).shape == (2, SMALL, SMALL)
