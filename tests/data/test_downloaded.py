"""MNIST, FashionMNIST and Omniglot without a network: small data sets in the same formats."""

import socket
import struct
import urllib.request
from collections import namedtuple
from dataclasses import replace

import numpy as np
import pytest
import torchvision.datasets
from PIL import Image

from air.cli.compose import compose_config
from air.data.downloaded import fashion_mnist, full_mnist, omniglot
from air.data.loading import load_data
from air.errors import DataError

Published = namedtuple("Published", "read preset folder write")


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise urllib.error.URLError("no network\nat all")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


def write_idx(folder):
    """Write a small data set in MNIST's format and return its images and labels by part."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    parts = []
    for part, number in (("train", 30), ("t10k", 20)):
        images = random.integers(0, 60, (number, 28, 28)).astype(np.uint8)
        labels = random.integers(0, 10, number).astype(np.uint8)
        header = struct.pack(">IIII", 0x0803, number, 28, 28)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        header = struct.pack(">II", 0x0801, number)
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(header + labels.tobytes())
        parts.append((images, labels))
    return parts


def write_characters(folder):
    """Write black squares on white in Omniglot's layout; return their images and labels by part."""
    parts = []
    for part, alphabets in (("background", 3), ("evaluation", 2)):
        images, labels = [], []
        for alphabet in range(alphabets):
            for character in range(2):
                inside = (
                    folder / f"images_{part}" / f"Alphabet_{alphabet}" / f"character{character}"
                )
                inside.mkdir(parents=True)
                for drawer in range(4):
                    page = np.full((112, 112), 255, np.uint8)  # 4 pixels become one
                    page[8 * character : 40 + 8 * drawer, 16 : 40 + 4 * alphabet] = 0
                    Image.fromarray(page).convert("1").save(inside / f"{drawer:02}.png")
                    images.append(255 - page[::4, ::4])
                    labels.append(2 * alphabet + character)
        parts.append((np.stack(images), np.array(labels)))
    return parts


SETS = [
    Published(full_mnist, "multi_mnist_full", "MNIST/raw", write_idx),
    Published(fashion_mnist, "multi_fashion", "FashionMNIST/raw", write_idx),
    Published(omniglot, "omniglot", "omniglot-py", write_characters),
]
each_set = pytest.mark.parametrize("data", SETS, ids=[data.preset for data in SETS])
IDX = SETS[:2]
each_in_idx = pytest.mark.parametrize("data", IDX, ids=[data.preset for data in IDX])


@each_set
def test_what_is_there_is_read(tmp_path, data, capfd):
    parts = data.write(tmp_path / data.folder)
    for cutouts, (images, labels) in zip(data.read(tmp_path), parts, strict=True):
        assert cutouts.images.dtype == np.uint8
        assert cutouts.labels.dtype == np.int64
        assert (cutouts.images == images).all()
        assert (cutouts.labels == labels).all()
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.glob("*.lock"))  # reading needs no lock: the folder may be read-only


@each_set
def test_without_network_is_one_clear_error(tmp_path, data, capfd):
    timeout = socket.getdefaulttimeout()
    with pytest.raises(DataError, match=rf"^data={data.preset}: cannot download") as e:
        data.read(tmp_path / "new")
    message = str(e.value)
    assert "\n" not in message
    assert "no network" in message
    assert str(tmp_path / "new" / data.folder) in message
    assert "on another machine" in message
    assert e.value.__suppress_context__
    assert capfd.readouterr() == ("", "")
    assert socket.getdefaulttimeout() == timeout
    assert [path.suffix for path in (tmp_path / "new").iterdir() if path.is_file()] == [".lock"]


@each_in_idx
@pytest.mark.parametrize("content", [b"", b"\0\0\x08\x03", b"no idx file at all"])
def test_a_damaged_idx_file_is_one_clear_error(tmp_path, data, content):
    data.write(tmp_path / data.folder)
    (tmp_path / data.folder / "t10k-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(DataError, match="damaged") as e:
        data.read(tmp_path)
    assert "\n" not in str(e.value)


def test_a_truncated_idx_file_is_one_clear_error(tmp_path):
    write_idx(tmp_path / "MNIST" / "raw")
    path = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(DataError, match="damaged"):
        full_mnist(tmp_path)


def cut(path):
    path.write_bytes(path.read_bytes()[:60])


def blank(path):
    Image.new("1", (105, 105), 1).save(path)


@pytest.mark.parametrize(
    ("damage", "why"), [(cut, "truncated|cannot identify"), (blank, "has no ink")]
)
def test_a_damaged_character_is_one_clear_error(tmp_path, damage, why):
    write_characters(tmp_path / "omniglot-py")
    path = tmp_path / "omniglot-py" / "images_evaluation" / "Alphabet_1" / "character0" / "02.png"
    damage(path)
    with pytest.raises(DataError, match=rf"damaged \({path}: .*({why})") as e:
        omniglot(tmp_path)
    assert "\n" not in str(e.value)


def test_a_folder_of_omniglot_appears_whole(tmp_path, monkeypatch):
    """What a download leaves behind when it is interrupted is not taken for the data set."""

    def interrupted(root, background, download):
        write_characters(tmp_path / root / "omniglot-py")
        if not background:
            raise OSError("interrupted")

    with monkeypatch.context() as patch:
        patch.setattr(torchvision.datasets, "Omniglot", interrupted)
        with pytest.raises(DataError, match="interrupted"):
            omniglot(tmp_path)
    assert [path.name for path in (tmp_path / "omniglot-py").iterdir()] == ["images_background"]
    assert {path.name for path in tmp_path.iterdir()} == {"omniglot-py", "omniglot.lock"}

    def whole(root, background, download):
        write_characters(tmp_path / root / "omniglot-py")

    monkeypatch.setattr(torchvision.datasets, "Omniglot", whole)
    train, test = omniglot(tmp_path)
    assert (len(train), len(test)) == (24, 16)


def test_a_root_that_cannot_be_made_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="Not a directory"):
        full_mnist(tmp_path / "file" / "data")


@each_set
def test_scenes_are_drawn_of_it(tmp_path, data):
    data.write(tmp_path / data.folder)
    config = compose_config([f"data={data.preset}", f"data.root={tmp_path}"]).data
    config = replace(config, min_objects=1, num_train=25, num_test=15)
    drawn = load_data(config)
    size = config.canvas_size
    assert drawn.train.images.shape == (25, size, size)
    assert drawn.test.images.shape == (15, size, size)
    assert drawn.train.images.flatten(1).any(1).all()
    load_data.cache_clear()
