"""Folders of image files: decoded once, in memory or on disk, with counts or a line why not."""

import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from air.data import folder as folders
from air.data.config import ImagesConfig
from air.errors import DataError
from tests.helpers.two_at_once import Slow, results_of

NUM_FILES = 12


def write_files(folder, num=NUM_FILES, colour=(), seed=0):
    """Write images of 10 x 10 pixels, some of them in colour, and return them by name."""
    folder.mkdir(exist_ok=True)
    random = np.random.default_rng(seed)
    images = {}
    for i in range(num):
        shape = (10, 10, 3) if i in colour else (10, 10)
        images[f"{i:02}.png"] = random.integers(0, 256, shape, dtype=np.uint8)
        Image.fromarray(images[f"{i:02}.png"]).save(folder / f"{i:02}.png")
    return images


@pytest.fixture
def config(tmp_path):
    return ImagesConfig(
        kind="images",
        path=str(tmp_path / "files"),
        test_path=None,
        test_fraction=0.25,
        seed=0,
        size=10,
        fit="pad",
        colour=None,
        root=str(tmp_path / "root"),
    )


@pytest.fixture
def images(config):
    return write_files(folders.Path(config.path))


def write_counts(config, text):
    (folders.Path(config.path) / "counts.csv").write_text(text)


def counted(images, count=lambda i: i % 3):
    return "file,count\n" + "".join(f"{name},{count(i)}\n" for i, name in enumerate(images))


def all_of(data):
    """Return all images and counts, in the order of the held-out ones and the others."""
    parts = (data.test, data.train.subset(slice(None)))
    count = None if parts[0].count is None else torch.cat([part.count for part in parts])
    return torch.cat([part.images for part in parts]), count


def test_files_are_read_with_their_counts(config, images):
    write_counts(config, counted(images))
    data = config.build()
    assert (len(data.train), len(data.test)) == (9, 3)
    assert data.train.max_count == 2
    x, count = all_of(data)
    of_file = {image.tobytes(): i for i, image in enumerate(images.values())}
    found = [of_file[image.numpy().tobytes()] for image in x]
    assert sorted(found) == list(range(NUM_FILES))
    assert count.tolist() == [i % 3 for i in found]


def test_the_test_folder_is_held_out(config, images, tmp_path):
    other = write_files(tmp_path / "other", num=2, seed=1)
    data = replace(config, test_path=str(tmp_path / "other")).build()
    assert np.array_equal(data.train.images, np.stack(list(images.values())))
    assert np.array_equal(data.test.images, np.stack(list(other.values())))
    assert data.train.count is None


def test_images_in_memory_and_on_disk_are_the_same(config, images, monkeypatch):
    write_counts(config, counted(images))
    held = config.build()
    monkeypatch.setattr(folders, "MOST_IN_MEMORY", 8 * 100)
    stored = config.build()
    assert type(stored.train) is not type(held.train)
    assert stored.train.max_count == held.train.max_count
    for one, other in zip(all_of(held), all_of(stored), strict=True):
        assert torch.equal(one, other)
    batches = [
        data.train.batches(lambda i: torch.tensor([i, 8, 2]), torch.device("cpu"))
        for data in (held, stored)
    ]
    for i in range(3):
        assert torch.equal(batches[0](i), batches[1](i))


def test_one_file_in_colour_makes_all_so(config, tmp_path):
    images = write_files(tmp_path / "files", colour=(5,))
    x, _ = all_of(config.build())
    assert x.shape == (NUM_FILES, 10, 10, 3)
    rows = {image.numpy().tobytes() for image in x}
    for image in images.values():
        as_colours = image if image.ndim == 3 else np.repeat(image[..., None], 3, -1)
        assert as_colours.tobytes() in rows
    x, _ = all_of(replace(config, colour=False).build())
    assert x.shape == (NUM_FILES, 10, 10)


def test_grey_images_that_are_written_as_colours_are_grey(config, images):
    path = folders.Path(config.path) / "00.png"
    Image.open(path).convert("RGB").save(path)
    assert all_of(config.build())[0].shape == (NUM_FILES, 10, 10)
    assert all_of(replace(config, colour=True).build())[0].shape == (NUM_FILES, 10, 10, 3)


def test_test_files_in_colour_are_made_grey_with_a_warning(config, images, tmp_path, caplog):
    write_files(tmp_path / "other", num=3, colour=(1,))
    config = replace(config, test_path=str(tmp_path / "other"))
    assert config.build().test.images.shape == (3, 10, 10)
    (message,) = caplog.messages
    assert message.endswith("other: made grey, as in training: 01.png")


def test_what_is_no_image_is_left_out_with_a_warning(config, images, caplog):
    for name in ("a.txt", "b.bmp", ".hidden", "c", "d.tif"):
        (folders.Path(config.path) / name).touch()
    assert len(all_of(config.build())[0]) == NUM_FILES
    (message,) = caplog.messages
    assert message.endswith("left out, as neither PNG nor JPEG files: a.txt, b.bmp, c and 1 more")


# --- the cache ------------------------------------------------------------------------------------


@pytest.fixture
def decoded(monkeypatch):
    """The names of the files that were decoded."""
    read, names = folders.read_image, []

    def named(path):
        names.append(path.name)
        return read(path)

    monkeypatch.setattr(folders, "read_image", named)
    return names


def test_files_are_decoded_once(config, images, decoded):
    first = all_of(config.build())[0]
    assert decoded == list(images)
    assert torch.equal(all_of(config.build())[0], first)
    replace(config, seed=1, test_fraction=0.5).build()  # another share of the same files
    assert len(decoded) == NUM_FILES


def touch(folder):
    os.utime(folder / "03.png", (1, 1))


def rename(folder):
    (folder / "03.png").rename(folder / "33.png")


def rewrite(folder):
    times = (folder / "03.png").stat()
    Image.fromarray(np.zeros((10, 10), np.uint8)).save(folder / "03.png")
    os.utime(folder / "03.png", ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.mark.parametrize("change", [touch, rename, rewrite, lambda folder: None])
def test_what_has_changed_is_decoded_again(config, images, decoded, change):
    config.build()
    change(folders.Path(config.path))
    after = config if change in (touch, rename, rewrite) else replace(config, fit="crop")
    after.build()
    assert len(decoded) == 2 * NUM_FILES


@pytest.mark.parametrize("name", ["*[0-9a-f].npy", "*.forms.npy"])
def test_what_is_damaged_is_decoded_again(config, images, decoded, caplog, name):
    config.build()
    paths = list((folders.Path(config.root) / "images").glob(name))
    path = next(path for path in paths if path.name.count(".") == name.count("."))
    path.write_bytes(path.read_bytes()[:-1])
    config.build()
    assert len(decoded) == 2 * NUM_FILES
    assert "is damaged" in caplog.text
    config.build()
    assert len(decoded) == 2 * NUM_FILES


def test_two_that_start_at_once_share_one_decoding(config, images, decoded, monkeypatch, caplog):
    slow, read = Slow(), folders.read_image

    def read_slowly(path):
        slow.wait()
        return read(path)

    monkeypatch.setattr(folders, "read_image", read_slowly)

    def build():
        return all_of(config.build())[0]

    found = results_of(build, build, slow, caplog)
    assert torch.equal(*found)
    assert decoded == list(images)


# --- what cannot be used --------------------------------------------------------------------------


def refusal(config):
    with pytest.raises(DataError) as error:
        config.build()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_all_files_that_cannot_be_read_are_one_line(config, images):
    folder = folders.Path(config.path)
    whole = (folder / "01.png").read_bytes()
    (folder / "01.png").write_bytes(whole[: len(whole) // 2])
    (folder / "02.png").write_bytes(b"")
    (folder / "03.png").write_bytes(b"GIF89a")
    (folder / "04.png").write_bytes(whole[:100] + b"damage" + whole[106:])
    line = refusal(config)
    assert line.startswith(f"data.path: {folder}: 4 of its 12 files cannot be read: 01.png (")
    assert "02.png (no whole PNG or JPEG image), 03.png (" in line
    assert line.endswith(", …")
    assert not list((folders.Path(config.root) / "images").glob("*.npy*"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must have the columns file and count, got none"),
        ("name,count\n", "must have the columns file and count, got name, count"),
        ("file,count\nxx.png,1\n", "line 2: must name an image of the folder, got 'xx.png'"),
        ("file,count\n00.png,1\n00.png,1\n", "line 3: must name each file once, got 00.png again"),
        ("file,count\n00.png,-1\n", "line 2: the count of 00.png must be a whole number"),
        ("file,count\n00.png,1.5\n", "line 2: the count of 00.png must be a whole number"),
        ("file,count\n00.png\n", "line 2: the count of 00.png must be a whole number"),
        ("file,count\n00.png,1\n", "lacks 01.png, 02.png, 03.png and 8 more"),
    ],
)
def test_bad_counts_are_one_line(config, images, text, message):
    write_counts(config, text)
    line = refusal(config)
    assert line.startswith(f"data.path: {config.path}: counts.csv: ")
    assert message in line


def test_counts_may_be_those_of_a_spreadsheet(config, images):
    write_counts(config, "\ufefffile,note,count\r\n" + "".join(f"{n},?, 1\r\n" for n in images))
    assert all_of(config.build())[1].tolist() == [1] * NUM_FILES


def test_folders_that_hold_no_images_are_one_line(config, tmp_path):
    assert refusal(config).endswith("must be a folder of PNG or JPEG files, got nothing there")
    (tmp_path / "files").mkdir()
    assert refusal(config).endswith("got an empty one")
    (tmp_path / "files" / "a.txt").touch()
    assert refusal(config).endswith("got a.txt")
    Image.new("L", (4, 4), 9).save(tmp_path / "files" / "a.png")
    assert "must hold at least 2 images, 1 of them to hold out, got 1" in refusal(config)
    for number in range(2):
        Image.new("L", (10, 10), 1).save(tmp_path / "files" / f"{number}.png")
    (tmp_path / "files" / "a.png").unlink()
    assert "bytes must run from 0 to 255, got 0 and 1 alone" in refusal(config)
