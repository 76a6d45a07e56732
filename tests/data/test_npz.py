"""The user's own images: what is accepted comes back unchanged, the rest is one clear line."""

import zipfile

import numpy as np
import pytest
import torch

from air.data.config import NpzConfig
from air.data.loading import load_data
from air.data.npz import load_npz, read_scenes
from air.errors import DataError

RANDOM = np.random.default_rng(0)
BYTES = RANDOM.integers(0, 256, (10, 12, 12), dtype=np.uint8)
FLOATS = RANDOM.random((10, 12, 12))
COUNT = RANDOM.integers(0, 3, 10)
LABELS = np.array([[1, -1]] * 10)
BOXES = np.array([[[1, 2, 4, 7], [np.nan] * 4]] * 10)
MASKS = RANDOM.integers(0, 3, (10, 12, 12))


@pytest.fixture
def load(tmp_path):
    """Save arrays as the training file, and load it."""

    def save_and_load(arrays, test_arrays=None, test_fraction=0.3, seed=0):
        test_path = None
        np.savez(tmp_path / "mine.npz", **arrays)
        if test_arrays is not None:
            test_path = str(tmp_path / "held_out.npz")
            np.savez(test_path, **test_arrays)
        return load_npz(
            npz_config(tmp_path / "mine.npz", test_path, test_fraction=test_fraction, seed=seed)
        )

    return save_and_load


def npz_config(path, test_path=None, test_fraction=0.3, seed=0):
    return NpzConfig(
        kind="npz", path=str(path), test_path=test_path, test_fraction=test_fraction, seed=seed
    )


def test_round_trip_of_two_files(load):
    truth = {"count": COUNT, "labels": LABELS, "boxes": BOXES, "masks": MASKS}
    data = load({"x": BYTES, **truth}, {"x": FLOATS[:4]})
    assert data.train.images.dtype == torch.uint8
    assert (data.train.images.numpy() == BYTES).all()
    assert (data.train.count.numpy() == COUNT).all()
    assert (data.train.labels.numpy() == LABELS).all()
    np.testing.assert_array_equal(data.train.boxes.numpy(), BOXES)
    assert (data.train.masks.numpy() == MASKS).all()
    assert data.train.count.dtype == data.train.labels.dtype == torch.int64
    assert data.train.boxes.dtype == torch.float32
    assert data.test.images.dtype == torch.float32
    assert (data.test.images.numpy() == FLOATS[:4].astype(np.float32)).all()
    assert (data.test.count, data.test.labels, data.test.boxes) == (None, None, None)


def test_bools_are_black_and_white(load):
    images = load({"x": BYTES > 99}, {"x": BYTES > 9}).train.images
    assert images.dtype == torch.uint8
    assert (images.numpy() == np.where(BYTES > 99, 255, 0)).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_every_float_is_kept_as_float32(load, dtype):
    x = FLOATS.astype(dtype)
    images = load({"x": x}, {"x": x}).train.images
    assert images.dtype == torch.float32
    assert (images.numpy() == x.astype(np.float32)).all()


class Explosive:
    """What must never be unpickled."""

    def __reduce__(self):
        return pytest.fail, ("unpickled",)


OBJECTS = np.array([Explosive()] * 10, dtype=object)
LEFT_OUT = {
    "objects": ({"labels": OBJECTS}, "labels (Python objects, which are never unpickled)"),
    "rows of objects": (
        {"count": np.array([(1, None)] * 10, [("n", int), ("o", object)]), "boxes": OBJECTS},
        "count, boxes (Python objects, which are never unpickled)",
    ),
    "other keys": ({"counts": COUNT, "y": OBJECTS}, "counts, y (not one of x, count, boxes, labels,"
                   " masks)"),
    "both": ({"y": COUNT, "masks": OBJECTS}, "y (not one of x, count, boxes, labels, masks); "
             "masks (Python objects, which are never unpickled)"),
}  # fmt: skip


@pytest.mark.parametrize(("arrays", "named"), LEFT_OUT.values(), ids=LEFT_OUT)
def test_what_cannot_be_used_is_left_out_with_one_warning(tmp_path, caplog, arrays, named):
    path = tmp_path / "mine.npz"
    np.savez_compressed(path, x=BYTES, **{"labels": LABELS, **arrays})
    data = load_npz(npz_config(path))
    assert len(data.train) == 7
    assert (data.train.labels is None) == ("labels" in arrays)
    assert data.train.count is data.train.boxes is data.train.masks is None
    assert caplog.messages == [f"data.path: {path}: left out: {named}"]


def test_nothing_is_said_where_all_is_read(load, caplog):
    truth = {"count": COUNT, "labels": LABELS, "boxes": BOXES, "masks": MASKS}
    load({"x": BYTES, **truth}, {"x": BYTES})
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("number", "fraction", "held_out"),
    [(10, 0.3, 3), (10, 0.001, 1), (10, 0.999, 9), (2, 0.1, 1), (2, 0.9, 1)],
)
def test_held_out_share(load, number, fraction, held_out):
    numbers = np.arange(1, number + 1)
    x = numbers.astype(np.uint8)[:, None, None].repeat(4, 1).repeat(4, 2)
    data = load({"x": x, "count": numbers}, test_fraction=fraction)
    assert (len(data.train), len(data.test)) == (number - held_out, held_out)
    both = torch.cat([data.train.images, data.test.images])[:, 0, 0]
    assert sorted(both.tolist()) == numbers.tolist()
    for part in (data.train, data.test):  # the truth stays with its image
        assert torch.equal(part.count, part.images[:, 0, 0].long())


def test_the_seed_chooses_what_is_held_out(load):
    arrays = {"x": np.arange(50, dtype=np.uint8)[:, None, None]}
    chosen = [load(arrays, seed=seed).test.images.flatten().tolist() for seed in (0, 0, 1)]
    assert chosen[0] == chosen[1] != chosen[2]


def changed(array, index, value):
    copy = array.copy()
    copy[index] = value
    return copy


BAD_ARRAYS = {
    "no x": ({"images": BYTES}, r".*key x, got \['images'\]"),
    "one image, flat": ({"x": BYTES[0]}, r"x: .*\(N, S, S\), or .* in colour, got \(12, 12\)"),
    "two channels": ({"x": np.zeros((3, 8, 8, 2), np.uint8)}, r"x: .*colour, got \(3, 8, 8, 2\)"),
    "four channels": ({"x": np.zeros((3, 4, 8, 8), np.uint8)}, r"x: .*colour, got \(3, 4, 8, 8\)"),
    "not square": ({"x": BYTES[:, :6]}, r"x: .*square.*got \(10, 6, 12\)"),
    "no images": ({"x": BYTES[:0]}, r"x: .*at least one image"),
    "no pixels": ({"x": BYTES[:, :0, :0]}, r"x: .*at least one image"),
    "one image to share": ({"x": BYTES[:1]}, r"x: .*at least 2 images.*got 1"),
    "int64": ({"x": BYTES.astype(int)}, r"x: must be uint8, bool, or floats in .*, got int64"),
    "0 and 1": ({"x": BYTES // 128}, r"x: bytes must run from 0 to 255, got 0 and 1.*as bool"),
    "all 1": ({"x": BYTES * 0 + 1}, r"x: bytes must run from 0 to 255, got 0 and 1 alone"),
    "text": ({"x": np.full((3, 4, 4), "a")}, r"x: must be uint8.*got <U1"),
    "complex": ({"x": FLOATS * 1j}, r"x: must be uint8.*got complex128"),
    "pickled": ({"x": np.full((3, 4, 4), None)}, r"x: .*undamaged array of numbers.*allow_pickle"),
    "nan": ({"x": changed(FLOATS, (0, 0, 0), np.nan)}, r"x: floats must lie in \[0, 1\], got nan"),
    "inf": ({"x": changed(FLOATS, (0, 0, 0), np.inf)}, r"x: .*\[0, 1\], got from .* to inf"),
    "negative": ({"x": changed(FLOATS, (0, 0, 0), -0.5)}, r"x: .*\[0, 1\], got from -0.5 to"),
    "up to 255": ({"x": BYTES.astype(float)}, r"x: .*\[0, 1\], got from 0 to 255.*must be uint8"),
    "short count": ({"x": BYTES, "count": COUNT[:9]}, r"count: .*\(10,\), got \(9,\)"),
    "count column": ({"x": BYTES, "count": COUNT[:, None]}, r"count: .*\(10,\), got \(10, 1\)"),
    "one count": ({"x": BYTES, "count": np.array(2)}, r"count: .*\(10,\), got \(\)"),
    "negative count": ({"x": BYTES, "count": COUNT - 5}, r"count: must be at least 0, got -\d"),
    "float count": ({"x": BYTES, "count": COUNT * 1.0}, r"count: must be integers, got float64"),
    "flat boxes": ({"x": BYTES, "boxes": BOXES[:, 0]}, r"boxes: .*\(10, M, 4\), got \(10, 4\)"),
    "short boxes": ({"x": BYTES, "boxes": BOXES[:9]}, r"boxes: .*\(10, M, 4\), got \(9, 2, 4\)"),
    "boxes of 3": ({"x": BYTES, "boxes": BOXES[..., :3]}, r"boxes: .*\(10, M, 4\), got \(10, 2, 3"),
    "text boxes": ({"x": BYTES, "boxes": BOXES.astype(str)}, r"boxes: must be numbers, got <U32"),
    "half a box": ({"x": BYTES, "boxes": changed(BOXES, (0, 0, 1), np.nan)}, r"boxes: .*four nan"),
    "inside out": ({"x": BYTES, "boxes": BOXES[..., ::-1]}, r"boxes: .*x0 < x1.*\[7.0, 4.0, 2.0"),
    "float labels": ({"x": BYTES, "labels": LABELS * 1.0}, r"labels: must be integers, got float"),
    "labels below -1": ({"x": BYTES, "labels": LABELS - 1}, r"labels: .*or -1.*got -2"),
    "small masks": ({"x": BYTES, "masks": MASKS[:, 1:]}, r"masks: .*\(10, 12, 12\), got \(10, 11"),
    "negative masks": (
        {"x": BYTES, "masks": MASKS - 1},
        r"masks: must be from 0 to 255, got -1 to 1",
    ),
    "labels unlike boxes": (
        {"x": BYTES, "labels": LABELS[:, :1], "boxes": BOXES},
        r"labels: .*\(10, 2\), got \(10, 1\)",
    ),
}


@pytest.mark.parametrize(("arrays", "message"), BAD_ARRAYS.values(), ids=BAD_ARRAYS)
def test_wrong_arrays_are_one_clear_error(load, arrays, message):
    with pytest.raises(DataError, match=rf"^data\.path: .*mine\.npz: {message}") as e:
        load(arrays)
    assert "\n" not in str(e.value)
    assert e.value.__cause__ is None


def test_test_images_of_another_size(load):
    with pytest.raises(
        DataError, match=r"^data\.test_path: .*held_out\.npz: x: .*\(12, 12\).*\(6, 6\)"
    ):
        load({"x": BYTES}, {"x": BYTES[:, :6, :6]})


def test_errors_of_the_test_file_name_it(load):
    with pytest.raises(DataError, match=r"^data\.test_path: .*held_out\.npz: count: "):
        load({"x": BYTES}, {"x": BYTES, "count": COUNT - 9})
    with pytest.raises(DataError, match=r"^data\.test_path: .*held_out\.npz: x: bytes must"):
        load({"x": BYTES}, {"x": BYTES // 128})


def test_missing_file(tmp_path):
    with pytest.raises(DataError, match=r"^data\.path: .*none\.npz: .*No such file"):
        load_npz(npz_config(tmp_path / "none.npz"))


def test_directory(tmp_path):
    with pytest.raises(DataError, match=r"^data\.path: .*got a directory"):
        load_npz(npz_config(tmp_path))


def test_files_that_are_no_npz(tmp_path):
    path = tmp_path / "mine.npz"
    np.savez(path, x=BYTES)
    whole = path.read_bytes()
    np.save(tmp_path / "array.npy", BYTES)
    for content in (whole[:-40], whole[:100], b"", b"text", (tmp_path / "array.npy").read_bytes()):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"^data\.path: .*must be a whole \.npz file") as e:
            load_npz(npz_config(path))
        assert "\n" not in str(e.value)


def test_a_flipped_bit(tmp_path):
    path = tmp_path / "mine.npz"
    np.savez(path, x=BYTES)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"mine\.npz: x: .*Bad CRC-32"):
        load_npz(npz_config(path))


@pytest.mark.parametrize("part", ["header", "content"])
def test_a_damaged_array_that_is_not_needed_is_an_error_too(tmp_path, part):
    path = tmp_path / "mine.npz"
    np.savez(path, x=BYTES, labels=LABELS)
    content = bytearray(path.read_bytes())
    start = content.index(b"labels.npy") + len(b"labels.npy") + 20  # past zip's extra field
    content[start + (8 if part == "header" else 150)] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"mine\.npz: labels: must be an undamaged array"):
        load_npz(npz_config(path))


def test_load_data_knows_the_kind(tmp_path):
    path = tmp_path / "mine.npz"
    np.savez(path, x=BYTES)
    load_data.cache_clear()
    data = load_data(npz_config(path))
    assert len(data.train) + len(data.test) == 10
    load_data.cache_clear()


def test_labels_of_images_and_members_that_are_no_arrays_are_left_out(tmp_path, caplog):
    path = tmp_path / "mine.npz"
    np.savez(path, x=BYTES, labels=COUNT)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("masks", "no array")
    scenes = read_scenes(str(path), "data.path")
    assert scenes.labels is None
    assert scenes.masks is None
    (record,) = caplog.records
    assert "labels (labels of images, not of the objects in each)" in record.message
    assert "masks (no NumPy array)" in record.message
