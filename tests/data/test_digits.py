"""The bundled digits, and all of MNIST without a network."""

import socket
import struct
import urllib.request

import numpy as np
import pytest

from air.data.config import MultiMNISTFullConfig
from air.data.digits import bundled_digits, full_mnist
from air.data.loading import load_data
from air.errors import DataError


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise urllib.error.URLError("no network\nat all")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


@pytest.fixture
def mnist(tmp_path):
    """A small data set in MNIST's format: the root, and its images and labels by part."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    random = np.random.default_rng(0)
    parts = {}
    for part, number in (("train", 30), ("t10k", 20)):
        images = random.integers(0, 60, (number, 28, 28)).astype(np.uint8)
        labels = random.integers(0, 10, number).astype(np.uint8)
        header = struct.pack(">IIII", 0x0803, number, 28, 28)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        header = struct.pack(">II", 0x0801, number)
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(header + labels.tobytes())
        parts[part] = images, labels
    return tmp_path, parts


def test_bundled_digits():
    train, test = bundled_digits()
    for digits, number in ((train, 10_000), (test, 2_000)):
        assert len(digits) == number
        assert digits.images.shape == (number, 28, 28)
        assert digits.images.dtype == np.uint8
        assert digits.labels.shape == (number,)
        assert digits.labels.dtype == np.int64
        assert set(digits.labels.tolist()) == set(range(10))
        assert digits.images.any(axis=(1, 2)).all()
        assert digits.images.max() == 255


def test_training_and_test_digits_are_disjoint():
    train, test = ({image.tobytes() for image in part.images} for part in bundled_digits())
    assert not train & test


def test_full_mnist_reads_what_is_there(mnist, no_network, capfd):
    root, parts = mnist
    for digits, (images, labels) in zip(full_mnist(root), parts.values(), strict=True):
        assert digits.images.dtype == np.uint8
        assert digits.labels.dtype == np.int64
        assert (digits.images == images).all()
        assert (digits.labels == labels).all()
    assert capfd.readouterr() == ("", "")
    assert not list(root.glob("*.lock"))  # reading needs no lock, so the folder may be read-only


def test_full_mnist_without_network_is_one_clear_error(tmp_path, no_network, capfd):
    timeout = socket.getdefaulttimeout()
    with pytest.raises(DataError, match=r"^data=multi_mnist_full: cannot download") as e:
        full_mnist(tmp_path / "new")
    message = str(e.value)
    assert "\n" not in message
    assert "no network" in message
    assert str(tmp_path / "new" / "MNIST" / "raw") in message
    assert "use data=multi_mnist" in message
    assert e.value.__suppress_context__
    assert capfd.readouterr() == ("", "")
    assert socket.getdefaulttimeout() == timeout


@pytest.mark.parametrize("content", [b"", b"\0\0\x08\x03", b"no idx file at all"])
def test_damaged_mnist_is_one_clear_error(mnist, no_network, content):
    root, _ = mnist
    (root / "MNIST" / "raw" / "t10k-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(DataError, match="damaged") as e:
        full_mnist(root)
    assert "\n" not in str(e.value)


def test_truncated_mnist_is_one_clear_error(mnist, no_network):
    root, _ = mnist
    path = root / "MNIST" / "raw" / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(DataError, match="damaged"):
        full_mnist(root)


def test_a_root_that_cannot_be_made_is_one_clear_error(tmp_path, no_network):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="Not a directory"):
        full_mnist(tmp_path / "file" / "data")


def test_load_data_draws_scenes_of_full_mnist(mnist, no_network):
    root, _ = mnist
    config = MultiMNISTFullConfig(
        kind="multi_mnist_full",
        canvas_size=40,
        min_objects=1,
        max_objects=2,
        held_out_counts=(),
        count_weights=None,
        digit_scale_mean=1.3,
        digit_scale_sd=0.1,
        num_train=25,
        num_test=15,
        seed=0,
        root=str(root),
    )
    data = load_data(config)
    assert data.train.images.shape == (25, 40, 40)
    assert data.test.images.shape == (15, 40, 40)
    load_data.cache_clear()
