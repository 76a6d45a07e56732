"""`experiment=images`: what is found from images, and the whole way in grey and in colour."""

import json

import numpy as np
import pytest
import torch
import yaml

import air
from air.data.config import NpzConfig, ShardsConfig
from air.data.npz import load_npz
from air.data.shards import load_shards
from air.runs.checkpoint import read_latest
from tests.helpers.in_process import run_script

SIZE, WIDTH = 32, 8


def squares(num, ground, ink, seed=0, most=2):
    """Return images with 0 to `most` squares that do not touch, their counts, boxes and masks.

    Args:
        num: how many.
        ground: random -> what lies behind, (SIZE, SIZE) or (SIZE, SIZE, 3), floats.
        ink: random -> the brightness or the colour of a square.
        seed: of the images.
        most: squares in an image.
    """
    random = np.random.default_rng(seed)
    images, count = [], random.integers(0, most + 1, num)
    boxes = np.full((num, most, 4), np.nan, np.float32)
    masks = np.zeros((num, SIZE, SIZE), np.uint8)
    for i in range(num):
        image = ground(random)
        for t in range(count[i]):
            while True:
                x, y = random.integers(0, SIZE - WIDTH + 1, 2)
                around = masks[i, max(y - 1, 0) : y + WIDTH + 1, max(x - 1, 0) : x + WIDTH + 1]
                if not around.any():
                    break
            image[y : y + WIDTH, x : x + WIDTH] = ink(random)
            masks[i, y : y + WIDTH, x : x + WIDTH] = t + 1
            boxes[i, t] = x, y, x + WIDTH, y + WIDTH
        images.append((255 * image.clip(0, 1)).astype(np.uint8))
    return {"x": np.stack(images), "count": count, "boxes": boxes, "masks": masks}


def slopes(random):
    slope = np.linspace(-0.3, 0.3, SIZE) * random.uniform(-1, 1)
    return 0.4 + slope + 0.05 * random.standard_normal((SIZE, SIZE))


KINDS = {
    "light on dark": (lambda random: np.zeros((SIZE, SIZE)), lambda random: 1.0),
    "dark on light": (lambda random: np.full((SIZE, SIZE), 0.9), lambda random: 0.1),
    "on slopes with noise": (slopes, lambda random: 1.0),
    "in colour": (
        lambda random: np.zeros((SIZE, SIZE, 3)) + random.uniform(0, 0.4, 3),
        lambda random: random.uniform(0.6, 1, 3),
    ),
}


def images_run(tmp_path, kind, *overrides, num=600):
    for name, seed in (("train", 0), ("test", 1)):
        np.savez(tmp_path / f"{name}.npz", **squares(num, *KINDS[kind], seed))
    folder = tmp_path / "run"
    given = (
        "experiment=images",
        f"data.path={tmp_path / 'train.npz'}",
        f"data.test_path={tmp_path / 'test.npz'}",
        "tracking=none",
        f"hydra.run.dir={folder}",
    )
    return folder, run_script("train", *given, *overrides)


@pytest.mark.parametrize(
    "kind", ["in colour", pytest.param("on slopes with noise", marks=pytest.mark.slow)]
)
def test_it_is_trained_resumed_evaluated_and_drawn(tmp_path, kind):
    short = ("train.num_iterations=4", "train.save_every=2", "train.eval_every=2")
    folder, result = images_run(tmp_path, kind, *short, "train.num_pictures=2", num=80)
    assert result.returncode == 0, result.stderr
    model = yaml.safe_load((folder / "config.yaml").read_text())["model"]
    assert SIZE / model["scale_prior_mean"] == pytest.approx(1.06 * WIDTH, rel=0.1)
    whole = read_latest(folder)[1].model
    (folder / "checkpoints" / "00000004.pt").unlink()
    assert run_script("train", f"resume={folder}").returncode == 0
    again = read_latest(folder)[1].model
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    evaluators = "evaluators=[counts,elbo,reconstruction,boxes,segmentation,bound]"
    few = ("num_images=20", "bound.num_images=2", "bound.num_samples=[1,10]")
    result = run_script("evaluate", f"run={folder}", evaluators, *few)
    assert result.returncode == 0, result.stderr
    metrics = json.loads((folder / "evaluation.json").read_text())["metrics"]
    assert {"segmentation/mean_iou", "elbo/kl_background", "reconstruction/ssim"} <= metrics.keys()
    result = run_script("visualize", f"run={folder}", "num_images=20", "num_scenes=2")
    assert result.returncode == 0, result.stderr
    result = run_script("sample", f"run={folder}", "num_scenes=2", "arrays=true")
    assert result.returncode == 0, result.stderr
    drawn = np.load(folder / "pictures" / "samples.npz")["x"]
    assert drawn.shape[1:] == np.load(tmp_path / "train.npz")["x"].shape[1:]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_objects_are_counted_on_any_ground(tmp_path, kind):
    few = ("model.num_steps=3", "train.num_iterations=400", "train.num_pictures=0")
    folder, result = images_run(tmp_path, kind, *few, num=3000)
    assert result.returncode == 0, result.stderr
    assert json.loads((folder / "result.json").read_text())["metric"] > 0.95


def test_a_model_takes_images_with_its_own_channels_alone(tmp_path):
    folder, _ = images_run(tmp_path, "in colour", "train.num_iterations=1", num=80)
    np.savez(tmp_path / "grey.npz", x=squares(20, *KINDS["light on dark"])["x"])
    data = ("data=npz", f"data.path={tmp_path / 'grey.npz'}", "data.test_fraction=0.5")
    for script in ("evaluate", "visualize"):
        result = run_script(script, f"run={folder}", *data)
        assert result.returncode == 1
        assert result.stderr.splitlines()[-1] == (
            "error: data: must have images in colour as in training, got grey images"
        )
    with pytest.raises(ValueError, match=r"\(N, 32, 32, 3\).*got \(2, 32, 32\)"):
        air.load(folder).infer(torch.rand(2, SIZE, SIZE))


PIXELS = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("stored", "read"),
    [
        (PIXELS, PIXELS),
        (np.moveaxis(PIXELS, 3, 1), PIXELS),
        (PIXELS[..., :1], PIXELS[..., 0]),
        (PIXELS[:, None, ..., 0], PIXELS[..., 0]),
        (PIXELS > 128, np.uint8(255) * (PIXELS > 128)),
        ((PIXELS / 255).astype(np.float32), (PIXELS / 255).astype(np.float32)),
    ],
    ids=["as they are", "channels first", "one channel", "one channel first", "bool", "floats"],
)
def test_channels_are_recognised_in_memory_and_on_disk(tmp_path, stored, read):
    np.savez(tmp_path / "test.npz", x=stored)
    np.save(tmp_path / "train.npy", stored)
    file = NpzConfig("npz", str(tmp_path / "test.npz"), str(tmp_path / "test.npz"), 0.5, 0)
    on_disk = load_shards(ShardsConfig("shards", str(tmp_path), None)).train
    for train in (load_npz(file).train, on_disk):
        assert train.subset(slice(3, 7)).images.numpy().tolist() == read[3:7].tolist()
        assert train.image_shape == read.shape[1:]
        batch = train.batches(lambda iteration: torch.tensor([5, 2]), torch.device("cpu"))(0)
        assert batch.numpy().tolist() == read[[5, 2]].tolist()
