"""Images on disk: the same batches and the same training as in memory, in bounded memory."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

from air.cli.compose import compose_config
from air.data.config import NpzConfig, ShardsConfig
from air.data.loading import load_data
from air.data.shards import load_shards
from air.errors import DataError
from air.runs.checkpoint import read_latest
from air.training.batches import BatchOrder
from air.training.run import train
from tests.helpers.repository import REPOSITORY

RANDOM = np.random.default_rng(0)
BYTES = RANDOM.integers(0, 256, (30, 12, 12), dtype=np.uint8)
FLOATS = RANDOM.random((30, 12, 12))
TRUTH = {
    "count": RANDOM.integers(0, 3, 30),
    "labels": np.array([[1, -1]] * 30),
    "boxes": np.array([[[1, 2, 4, 7], [np.nan] * 4]] * 30),
}
CUTS = (7, 8, 20)  # of the 30 images into four files
CPU = torch.device("cpu")


def write(folder, x, truth=None, cuts=CUTS, test=BYTES[:5]):
    folder.mkdir(exist_ok=True)
    parts = {f"train-{k:02}": np.split(np.arange(len(x)), cuts)[k] for k in range(len(cuts) + 1)}
    for name, rows in parts.items():
        np.save(folder / f"{name}.npy", x[rows])
        for key, array in (truth or {}).items():
            np.save(folder / f"{name}.{key}.npy", array[rows])
    np.savez(folder / "test.npz", x=test)
    return folder


def load(folder, test_path=None):
    return load_shards(ShardsConfig(kind="shards", path=str(folder), test_path=test_path))


def test_scenes_are_those_of_the_files_in_any_order(tmp_path):
    train = load(write(tmp_path, BYTES, TRUTH)).train
    assert (len(train), train.x_size, train.max_count) == (30, 12, TRUTH["count"].max())
    chosen = torch.tensor([29, 0, 7, 6, 8, 19, 20, 7])  # both sides of every cut, and one twice
    for indices in (chosen, slice(None), slice(5, 25, 3)):
        rows = indices.numpy() if isinstance(indices, torch.Tensor) else indices
        scenes = train.subset(indices)
        assert scenes.images.dtype == torch.uint8
        assert (scenes.images.numpy() == BYTES[rows]).all()
        assert (scenes.count.numpy() == TRUTH["count"][rows]).all()
        assert (scenes.labels.numpy() == TRUTH["labels"][rows]).all()
        np.testing.assert_array_equal(scenes.boxes.numpy(), TRUTH["boxes"][rows])
        assert scenes.count.dtype == scenes.labels.dtype == torch.int64
        assert scenes.boxes.dtype == torch.float32
    with pytest.raises(IndexError, match="30"):
        train.subset(torch.tensor([30]))


@pytest.mark.parametrize("dtype", [np.uint8, np.bool_, np.float16, np.float32, np.float64])
def test_batches_are_those_of_the_same_images_in_memory(tmp_path, dtype):
    x = BYTES if dtype == np.uint8 else FLOATS.astype(dtype)
    x = BYTES > 99 if dtype == np.bool_ else x
    np.savez(tmp_path / "mine.npz", x=x)
    npz = NpzConfig(
        kind="npz", path=f"{tmp_path}/mine.npz", test_path=f"{tmp_path}/mine.npz",
        test_fraction=0.5, seed=0,
    )  # fmt: skip
    stored, held = load(write(tmp_path / "x", x)).train, load_data(npz).train
    one, other = (part.batches(BatchOrder(30, 8, seed=3).indices, CPU) for part in (stored, held))
    # In turn, over an epoch's end; then from somewhere else, as a resumed run does.
    for iteration in (*range(7), 100, 101, 2):
        images = one(iteration)
        assert images.dtype == (torch.uint8 if x.dtype.itemsize == 1 else torch.float32)
        assert torch.equal(images, other(iteration)), iteration


def test_one_file_is_enough_and_files_are_in_the_order_of_their_numbers(tmp_path):
    np.savez(tmp_path / "held_out.npz", x=BYTES[:2], count=[1, 2])
    (tmp_path / "one").mkdir()
    np.save(tmp_path / "one" / "train.npy", BYTES)
    data = load(tmp_path / "one", test_path=str(tmp_path / "held_out.npz"))
    assert (data.train.subset(slice(None)).images.numpy() == BYTES).all()
    assert data.test.count.tolist() == [1, 2]
    assert data.train.count is data.train.max_count is None
    write(tmp_path / "many", BYTES, cuts=range(1, 30))
    for number in range(30):
        path = tmp_path / "many" / f"train-{number:02}.npy"
        path.rename(path.with_name(f"train-{number}.npy"))
    many = load(tmp_path / "many").train
    assert (many.subset(slice(None)).images.numpy() == BYTES).all()


# --- bad input ------------------------------------------------------------------------------------


def save(name, array):
    return lambda folder: np.save(folder / name, array)


def cut(name, num_bytes):
    def change(folder):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[:num_bytes] if num_bytes else content + b"x")

    return change


def remove(name):
    return lambda folder: (folder / name).unlink()


BAD = {
    "no folder": (shutil.rmtree, r": must be a folder with train-\*\.npy, got nothing there"),
    "no train": (
        lambda folder: [path.unlink() for path in folder.glob("train*")],
        r": must hold train-\*\.npy or train\.npy, got neither",
    ),
    "both": (save("train.npy", BYTES), r": must hold train\.npy or train-\*\.npy, got both"),
    "a gap": (remove("train-02.npy"), r": .*from train-00\.npy to train-03\.npy, but 2 is missing"),
    "cut short": (cut("train-01.npy", 200), r"/train-01\.npy: must be a whole \.npy file"),
    "cut in its header": (cut("train-01.npy", 50), r"/train-01\.npy: must be a whole \.npy file"),
    "empty": (lambda f: (f / "train-01.npy").write_bytes(b""), r"/train-01\.npy: must be a whole"),
    "too long": (cut("train-01.npy", 0), r"/train-01\.npy: must have 272 bytes, got 273"),
    "no npy": (lambda f: (f / "train-01.npy").write_text("text"), r"/train-01\.npy: must be a who"),
    "a folder": (
        lambda f: [(f / "train-01.npy").unlink(), (f / "train-01.npy").mkdir()],
        r"/train-01\.npy: must be a whole \.npy file of numbers, got: Is a directory",
    ),
    "pickled": (save("train-01.npy", np.full((1, 12, 12), None)), r"/train-01\.npy: must be a who"),
    "other size": (
        save("train-02.npy", BYTES[:, :9, :9]),
        r"/train-02\.npy: must hold \(12, 12\) as train-00\.npy does, got \(9, 9\)",
    ),
    "other type": (
        save("train-02.npy", FLOATS),
        r"/train-02\.npy: must hold uint8 as train-00\.npy does, got float64",
    ),
    "int64": (save("train-00.npy", BYTES.astype(int)), r"/train-00\.npy: must be uint8.*got int64"),
    "0 and 1": (
        lambda folder: [
            save(f"train-{k:02}.npy", np.ones((n, 12, 12), np.uint8))(folder)
            for k, n in enumerate((7, 1, 12, 10))
        ],
        r": bytes must run from 0 to 255, got 0 and 1 alone; multiply them by 255, or store .*bool",
    ),
    "held-out 0 and 1": (
        lambda folder: np.savez(folder / "test.npz", x=BYTES // 128),
        r"/test\.npz: x: bytes must run from 0 to 255",
    ),
    "flat": (save("train-00.npy", BYTES[0]), r"/train-00\.npy: must be square images"),
    "not square": (save("train-00.npy", BYTES[:, :6]), r"/train-00\.npy: .*got \(30, 6, 12\)"),
    "no images": (save("train-01.npy", BYTES[:0]), r"/train-01\.npy: must "),
    "Fortran": (save("train-01.npy", np.asfortranarray(BYTES)), r"/train-01\.npy: .*in C order"),
    "part of the truth": (
        remove("train-02.count.npy"),
        r"/train-02\.count\.npy: is missing, though train-00\.count\.npy is there",
    ),
    "short truth": (
        save("train-00.count.npy", TRUTH["count"]),
        r"/train-00\.count\.npy: must have the shape \(7,\), got \(30,\)",
    ),
    "negative count": (
        save("train-02.count.npy", np.full(12, -3)),
        r"/train-02\.count\.npy: must be at least 0, got -3",
    ),
    "labels of objects": (
        save("train-00.labels.npy", np.full((7, 2), None)),
        r"/train-00\.labels\.npy: must be a whole \.npy file of numbers, got: .*Python objects",
    ),
    "float labels": (
        save("train-00.labels.npy", np.ones((7, 2))),
        r"/train-00\.labels\.npy: must be integers, got float64",
    ),
    "boxes of 3": (
        save("train-00.boxes.npy", np.ones((7, 2, 3))),
        r"/train-00\.boxes\.npy: must have the shape \(7, M, 4\)",
    ),
    "labels unlike boxes": (
        save("train-00.labels.npy", np.ones((7, 1), int)),
        r"/train-00\.labels\.npy: must have the shape \(7, 2\), got \(7, 1\)",
    ),
    "no held-out images": (remove("test.npz"), r"/test\.npz: .*No such file"),
    "small held-out images": (
        lambda folder: np.savez(folder / "test.npz", x=BYTES[:, :5, :5]),
        r"/test\.npz: x: must have images of the shape \(12, 12\) as in .*, got \(5, 5\)",
    ),
    "fewer than were made": (
        lambda folder: (folder / "scenes.json").write_text(json.dumps({"num_train": 31})),
        r": must hold 31 training images, as scenes\.json says, got 30",
    ),
    "damaged manifest": (
        lambda folder: (folder / "scenes.json").write_text("{"),
        r": scenes\.json: must tell num_train",
    ),
}


@pytest.mark.parametrize(("change", "message"), BAD.values(), ids=BAD)
def test_wrong_folders_are_one_clear_error(tmp_path, change, message):
    folder = write(tmp_path / "x", BYTES, TRUTH)
    load(folder)
    change(folder)
    with pytest.raises(DataError, match=rf"^data\.path: {folder}{message}") as e:
        load(folder)
    assert "\n" not in str(e.value)
    assert e.value.__cause__ is None


def test_pixels_out_of_range_are_found_before_training_or_when_they_are_read(tmp_path):
    folder = write(tmp_path / "x", BYTES.astype(float))
    with pytest.raises(DataError, match=r"train-00\.npy: floats must lie in \[0, 1\].*uint8"):
        load(folder)
    many = np.zeros((5000, 2, 2), np.float32)
    many[3] = np.nan  # one of the many that are not looked at
    folder = write(tmp_path / "y", many, test=np.zeros((1, 2, 2), np.uint8))
    batch = load(folder).train.batches(lambda i: torch.arange(i, i + 2), CPU)
    assert batch(0).shape == (2, 2, 2)
    with pytest.raises(DataError, match=r"train-00\.npy: floats must lie in \[0, 1\], got nan"):
        batch(2)


def test_held_out_images_are_read_without_what_cannot_be_used(tmp_path, caplog):
    folder = write(tmp_path, BYTES)
    np.savez(folder / "test.npz", x=BYTES[:2], labels=np.full((2, 1), None), counts=[1, 2])
    test = load(folder).test
    assert (test.labels, test.count) == (None, None)
    (said,) = caplog.messages
    assert said.startswith(f"data.path: {folder / 'test.npz'}: left out: labels (Python objects")


def test_a_file_of_nearly_black_images_is_taken_among_others(tmp_path):
    dark = np.concatenate([BYTES[:7] // 128, BYTES[7:]])  # all of the first file
    train = load(write(tmp_path, dark)).train
    batch = train.batches(lambda i: torch.arange(7), CPU)
    assert batch(0).max() == 1


def test_a_file_that_goes_or_shrinks_meanwhile_is_one_clear_error(tmp_path):
    train = load(write(tmp_path, BYTES)).train
    cut("train-03.npy", 300)(tmp_path)
    remove("train-02.npy")(tmp_path)
    assert (train.subset(slice(8)).images.numpy() == BYTES[:8]).all()
    with pytest.raises(DataError, match=r"train-03\.npy: is shorter than it was"):
        train.subset(slice(29, 30))
    with pytest.raises(DataError, match=r"train-02\.npy: cannot be read: No such file"):
        train.subset(slice(9, 10))


# --- training -------------------------------------------------------------------------------------


@pytest.fixture
def same_scenes(tmp_path, data_root):
    """The same images as files in a folder and in one file, and what to override for each."""
    small = ("train.num_iterations=20", "train.eval_every=10", "train.save_every=10")
    small += ("tracking=none", "train.step=eager", "train.num_pictures=0")
    data = load_data(compose_config(("experiment=smoke", f"data.root={data_root}")).data)
    x, count = data.train.images.numpy(), data.train.count.numpy()
    test = {"x": data.test.images.numpy(), "count": data.test.count.numpy()}
    write(tmp_path / "shards", x, {"count": count}, cuts=(100, 101, 300))
    np.savez(tmp_path / "shards" / "test.npz", **test)
    np.savez(tmp_path / "test.npz", **test)
    np.savez(tmp_path / "train.npz", x=x, count=count)
    paths = {"npz": f"{tmp_path}/train.npz", "shards": f"{tmp_path}/shards"}
    test_path = f"data.test_path={tmp_path}/test.npz"
    return {
        kind: (*small, f"data={kind}", f"data.path={path}", test_path)
        for kind, path in paths.items()
    }


def assert_same_end(one, other):
    one, other = (read_latest(folder)[1] for folder in (one, other))
    assert one.iteration == other.iteration
    for name, value in one.model.items():
        assert torch.equal(value, other.model[name]), name
    assert torch.equal(one.random_states["cpu"], other.random_states["cpu"])


def test_training_on_files_is_training_in_memory_and_can_be_resumed(
    same_scenes, tmp_path, monkeypatch
):
    configs = {kind: compose_config(values) for kind, values in same_scenes.items()}
    metrics = {kind: train(config, tmp_path / kind, []) for kind, config in configs.items()}
    assert metrics["npz"] == metrics["shards"]
    assert_same_end(tmp_path / "npz", tmp_path / "shards")

    def killed(self, scenes):
        raise KeyboardInterrupt

    config, parts = same_scenes["shards"], tmp_path / "parts"
    with monkeypatch.context() as patch:
        patch.setattr("air.training.trainer.Trainer.evaluate", killed)
        with pytest.raises(KeyboardInterrupt):
            train(compose_config((*config, "train.save_every=7")), parts, [])
    assert read_latest(parts)[1].iteration == 7
    train(compose_config((*config, f"resume={parts}")), parts, [])
    assert_same_end(tmp_path / "npz", parts)


def test_a_bad_folder_leaves_no_run(same_scenes, tmp_path):
    remove("train-01.npy")(tmp_path / "shards")
    with pytest.raises(DataError, match="must hold every number"):
        train(compose_config(same_scenes["shards"]), tmp_path / "run", [])
    assert not (tmp_path / "run").exists()


# --- memory ---------------------------------------------------------------------------------------

# Sees every image once, then trains for a few steps; watches the process's resident memory.
WATCHED = """
import json, sys
from pathlib import Path
import psutil, torch
from air.training.batches import BatchOrder
from air.data.config import ShardsConfig
from air.data.loading import load_data

torch.set_num_threads(1)
memory = psutil.Process().memory_info
path, num_iterations = sys.argv[1], int(sys.argv[2])
train = load_data(ShardsConfig(kind="shards", path=path, test_path=None)).train
resident = [memory().rss]
order = BatchOrder(len(train), 500, seed=0)
batch = train.batches(order.indices, torch.device("cpu"))
for iteration in range(order.batches_per_epoch):
    batch(iteration)
    resident.append(memory().rss)
if num_iterations:
    from air.cli.compose import compose_config
    from air.training.run import train
    from air.training.trainer import Trainer

    step = Trainer.step
    def watched(self):
        step(self)
        resident.append(memory().rss)
    Trainer.step = watched
    data = ["data=shards", f"data.path={path}"]
    config = compose_config([*data, "tracking=none", f"train.num_iterations={num_iterations}"])
    train(config, Path(path) / "run", [])
    resident.append(memory().rss)
print(json.dumps([resident[0], max(resident)]))
"""


def resident_memory(folder, num_iterations):
    """Return the memory of a process before it sees images, and at most; in MiB."""
    result = subprocess.run(
        [sys.executable, "-c", WATCHED, str(folder), str(num_iterations)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    assert result.returncode == 0, result.stderr
    return [num_bytes / 2**20 for num_bytes in json.loads(result.stdout.splitlines()[-1])]


def noise(num_images):
    return RANDOM.integers(0, 256, (num_images, 50, 50), dtype=np.uint8)


def test_an_epoch_leaves_the_images_on_disk(tmp_path):
    x = noise(80_000)  # 200 MB
    write(tmp_path, x, {"count": np.zeros(len(x), int)}, cuts=(40_000,), test=x[:2])
    before, peak = resident_memory(tmp_path, num_iterations=0)
    assert peak - before < 50


@pytest.mark.slow
def test_a_million_images_in_less_than_a_gibibyte(tmp_path):
    x = noise(50_000)
    write(tmp_path, x, {"count": np.zeros(len(x), int)}, cuts=(), test=x[:1000])
    for number in range(1, 20):  # of the same content, which costs as much to read as any other
        for name in ("npy", "count.npy"):
            shutil.copy(tmp_path / f"train-00.{name}", tmp_path / f"train-{number:02}.{name}")
    _, peak = resident_memory(tmp_path, num_iterations=30)
    assert peak < 1024
