"""The cache: the same scenes again without drawing them, whatever happens to its file."""

import logging
import multiprocessing
from dataclasses import replace

import pytest
import torch

import air.data.cache as cache
from air.data.config import MultiMNISTConfig
from air.data.cutouts import Cutouts
from air.data.digits import bundled_digits
from air.data.drawing import draw_data
from air.data.loading import load_data
from air.data.multi_mnist import CutoutPainter
from air.errors import DataError


@pytest.fixture
def config(tmp_path):
    return MultiMNISTConfig(
        kind="multi_mnist",
        canvas_size=50,
        min_objects=0,
        max_objects=2,
        held_out_counts=(),
        count_weights=None,
        scale_mean=1.3,
        scale_sd=0.1,
        background="none",
        num_train=40,
        num_test=20,
        seed=0,
        root=str(tmp_path / "data"),
    )


@pytest.fixture(scope="module")
def digits():
    return bundled_digits()


@pytest.fixture
def draws(monkeypatch):
    """The configurations whose scenes have been drawn."""
    calls = []

    def counted(train, test, config):
        calls.append(config)
        return draw_data(train, test, config)

    monkeypatch.setattr(cache, "draw_data", counted)
    return calls


def painters(train, test, config):
    return CutoutPainter(train, config), CutoutPainter(test, config), config


def cached(*arguments):
    return cache.cached_data(*painters(*arguments))


def same_data(first, second):
    return all(
        torch.allclose(
            getattr(getattr(first, part), name),
            getattr(getattr(second, part), name),
            rtol=0,
            atol=0,
            equal_nan=True,
        )
        for part in ("train", "test")
        for name in ("images", "count", "labels", "boxes")
    )


def cache_files(config):
    return sorted((cache.Path(config.root) / "scenes").glob("*.npz"))


def test_a_hit_gives_equal_scenes_and_draws_nothing(config, digits, draws, caplog):
    with caplog.at_level(logging.INFO):
        first = cached(*digits, config)
        second = cached(*digits, config)
    assert len(draws) == 1
    assert same_data(first, second)
    assert same_data(first, draw_data(*painters(*digits, config)))
    assert [record.message.split()[0] for record in caplog.records] == ["drew", "loaded"]
    assert len(cache_files(config)) == 1
    assert not list((cache.Path(config.root) / "scenes").glob("*.partial"))


def test_what_scenes_depend_on_makes_another_file(config, digits, draws):
    train_digits, test_digits = digits
    cached(*digits, config)
    changes = {
        "canvas_size": 52,
        "min_objects": 1,
        "max_objects": 1,
        "held_out_counts": (1,),
        "count_weights": (3, 1, 1),
        "scale_mean": 1.4,
        "scale_sd": 0.2,
        "background": "grid",
        "num_train": 41,
        "num_test": 21,
        "seed": 1,
    }
    for name, value in changes.items():
        cached(*digits, replace(config, **{name: value}))
    fewer = Cutouts(train_digits.images[:100], train_digits.labels[:100])
    cached(fewer, test_digits, config)
    assert len(draws) == len(cache_files(config)) == len(changes) + 2


def test_the_folder_and_the_preset_are_not_content(config, digits, draws, tmp_path):
    cached(*digits, config)
    moved = replace(config, root=str(tmp_path / "moved"))
    cache.Path(config.root).rename(moved.root)
    cached(*digits, moved)
    assert len(draws) == 1


def _cut(content):
    return content[: len(content) // 2]


def _flip_a_pixel(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize(
    "damage",
    [_cut, _flip_a_pixel, lambda content: b"", lambda content: b"not a zip file"],
    ids=["cut", "flipped bit", "empty", "text"],
)
def test_a_damaged_file_is_drawn_again_with_a_warning(config, digits, draws, caplog, damage):
    first = cached(*digits, config)
    (path,) = cache_files(config)
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    with caplog.at_level(logging.WARNING):
        second = cached(*digits, config)
    assert len(draws) == 2
    assert same_data(first, second)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert str(path) in caplog.text
    cached(*digits, config)
    assert len(draws) == 2


def test_the_file_of_another_configuration_is_refused(config, digits, draws, caplog):
    other = replace(config, seed=1)
    cached(*digits, config)
    (path,) = cache_files(config)
    expected = cached(*digits, other)
    (other_path,) = set(cache_files(config)) - {path}
    other_path.write_bytes(path.read_bytes())
    assert same_data(cached(*digits, other), expected)
    assert "another configuration" in caplog.text


def test_a_failed_write_leaves_no_file(config, digits, monkeypatch):
    def full_disk(*args, **arrays):
        args[0].write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.np, "savez", full_disk)
    with pytest.raises(DataError, match=r"data\.root: .*No space left"):
        cached(*digits, config)
    names = {path.suffix for path in (cache.Path(config.root) / "scenes").iterdir()}
    assert names <= {".lock"}


def test_a_root_that_cannot_be_written_is_one_clear_error(config, digits, tmp_path):
    (tmp_path / "file").write_text("in the way")
    bad = replace(config, root=str(tmp_path / "file" / "data"))
    with pytest.raises(DataError, match=r"^data\.root: must be a folder that can be written") as e:
        cached(*digits, bad)
    assert "\n" not in str(e.value)


def _load_in_process(config, barrier, queue):
    """Report what this process got and how it got it."""
    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage().split()[0])
    logging.getLogger("air.data").addHandler(handler)
    logging.getLogger("air.data").setLevel(logging.INFO)
    barrier.wait(60)
    data = load_data(config)
    queue.put((lines, data.train.images.long().sum().item(), data.test.count.tolist()))


def test_processes_that_start_at_once_share_one_drawing(config):
    config = replace(config, num_train=3000)  # slow enough that the second has to wait
    context = multiprocessing.get_context("spawn")
    barrier, queue = context.Barrier(2), context.Queue()
    processes = [
        context.Process(target=_load_in_process, args=(config, barrier, queue)) for _ in range(2)
    ]
    for process in processes:
        process.start()
    results = [queue.get(timeout=100) for _ in processes]
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert sorted(lines for lines, *_ in results) == [["drew"], ["loaded"]]
    assert results[0][1:] == results[1][1:]
    assert len(cache_files(config)) == 1


def test_load_data_keeps_the_last_data_set(config, draws):
    load_data.cache_clear()
    first = load_data(config)
    assert load_data(config) is first
    other = load_data(replace(config, seed=1))
    assert not torch.equal(first.train.images, other.train.images)
    assert len(draws) == 2
    load_data.cache_clear()
