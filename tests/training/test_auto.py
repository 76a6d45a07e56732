"""Numbers of the model that are found from the training images, at the start of a run."""

import numpy as np
import pytest
import torch

from air.cli.compose import compose_config
from air.config.parsing import parse_config
from air.data.scenes import Scenes
from air.errors import ConfigError
from air.runs.checkpoint import read_latest
from air.runs.folder import read_config
from tests.helpers.in_process import run_script
from tests.helpers.options import composed

AUTO = ("model.scale_prior_mean=auto", "model.pos_prior_sd=auto")
SMALL = ("experiment=smoke", "train.num_iterations=2", "train.num_pictures=0", "train.step=eager")
SMALL += ("train.save_every=1",)
FOUND = "found from the training images"


def squares(width, size=40, num=300):
    """Return one white square in each image."""
    images = np.zeros((num, size, size), np.uint8)
    corners = np.random.default_rng(0).integers(0, size - width + 1, (num, 2))
    for image, (x, y) in zip(images, corners, strict=True):
        image[y : y + width, x : x + width] = 255
    return images


def fitted(images, *overrides):
    scenes = Scenes(torch.from_numpy(images), None, None, None)
    return compose_config(overrides).fitted_to(scenes)


@pytest.mark.parametrize(("width", "size"), [(6, 40), (20, 40), (9, 75)])
def test_windows_of_the_prior_are_as_large_and_as_spread_as_the_objects(width, size):
    images = squares(width, size)
    air = fitted(images, *AUTO).build_model(size)
    prior = air.model.z_where_prior
    assert size / prior.mean[0] == pytest.approx(1.06 * width, rel=0.01)
    # Centres of squares that lie anywhere, in coordinates from -1 to 1.
    spread = (1 - width / size) / 3**0.5
    assert prior.sd[1] / prior.mean[0] == pytest.approx(spread, rel=0.1)


def test_a_number_stays_and_the_other_is_found_for_it():
    images = squares(8)
    model = fitted(images, "model.scale_prior_mean=3.0", "model.pos_prior_sd=auto").model
    both = fitted(images, *AUTO).model
    assert model.scale_prior_mean == 3.0
    assert model.pos_prior_sd / 3 == pytest.approx(both.pos_prior_sd / both.scale_prior_mean, 0.01)
    assert fitted(images, "model.scale_prior_mean=auto").model.pos_prior_sd == 1.0
    numbers = compose_config(())
    assert numbers.fitted_to(Scenes(torch.zeros(9, 50, 50), None, None, None)) is numbers


@pytest.mark.parametrize("key", ["model.scale_prior_mean", "model.pos_prior_sd"])
def test_no_model_is_built_while_a_number_is_unknown(key):
    config = parse_config(composed(f"{key}=auto"))
    with pytest.raises(ConfigError, match=f"{key}: must be a number to build .* got 'auto'"):
        config.build_model(50)


def test_a_run_on_drawn_scenes_records_the_numbers(tmp_path, data_root):
    run_dir = tmp_path / "run"
    said = run_script("train", *SMALL, *AUTO, f"data.root={data_root}", f"hydra.run.dir={run_dir}")
    model = read_config(run_dir)["model"]
    # What was found for these scenes by measurement.
    assert model["scale_prior_mean"] == pytest.approx(3.0, abs=0.15)
    assert model["pos_prior_sd"] == pytest.approx(1.0, abs=0.15)
    assert read_latest(run_dir)[1].config["model"] == model
    for log in (said.stdout, (run_dir / "train.log").read_text()):
        assert log.count(FOUND) == 2
        assert f"model.scale_prior_mean: {model['scale_prior_mean']}, {FOUND}" in log
        assert f"model.pos_prior_sd: {model['pos_prior_sd']}, {FOUND}" in log


def test_a_run_on_the_users_images_keeps_its_numbers_when_resumed(tmp_path):
    file, run_dir = tmp_path / "mine.npz", tmp_path / "run"
    np.savez(file, x=squares(10))
    run_script(
        *("train", *SMALL, *AUTO, "data=npz", f"data.path={file}", f"hydra.run.dir={run_dir}")
    )
    before = read_config(run_dir)["model"]
    assert 40 / before["scale_prior_mean"] == pytest.approx(10.6, rel=0.01)

    np.savez(file, x=squares(20))  # which would give others
    said = run_script("train", f"resume={run_dir}", "train.num_iterations=3")
    assert "resumed at iteration 2" in said.stdout
    assert FOUND not in said.stdout
    assert read_config(run_dir)["model"] == read_latest(run_dir)[1].config["model"] == before


def test_what_is_composed_is_shown_as_it_was_given():
    shown = run_script("train", "--cfg", "job", "model.scale_prior_mean=auto").stdout
    assert "scale_prior_mean: auto" in shown
