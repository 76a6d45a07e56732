"""Compiled steps are kept for other runs, in a folder that is safe to load from."""

import os

import pytest

from air.acceleration import step_cache
from air.acceleration.step_cache import kept_step
from tests.helpers.two_at_once import Slow, results_of

KEY = "ab" + 62 * "0"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("AIR_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "compiled_steps"


class Compiler:
    """Counts how often it is needed, and makes something else each time."""

    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return bytes([self.calls]) * 100


def test_a_step_is_compiled_once_for_each_key(folder):
    compiler = Compiler()
    first = kept_step(KEY, compiler)
    assert kept_step(KEY, compiler) == first
    assert kept_step(KEY[::-1], compiler) != first
    assert compiler.calls == 2
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({"AIR_CACHE_DIR": "ours", "XDG_CACHE_HOME": "caches"}, "ours"),
        ({"AIR_CACHE_DIR": "~/ours", "XDG_CACHE_HOME": ""}, "home/ours"),
        ({"AIR_CACHE_DIR": "", "XDG_CACHE_HOME": "caches"}, "caches/air"),
        ({"AIR_CACHE_DIR": "", "XDG_CACHE_HOME": ""}, "home/.cache/air"),
    ],
)
def test_the_folder_is_in_the_users_cache_or_where_they_say(
    tmp_path, monkeypatch, variables, place
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    kept_step(KEY, Compiler())
    assert (tmp_path / place / "compiled_steps" / KEY).exists()


def open_to_others(folder, monkeypatch):
    folder.mkdir(parents=True)
    folder.chmod(0o770)


def of_another_user(folder, monkeypatch):
    folder.mkdir(parents=True, mode=0o700)
    monkeypatch.setattr(os, "getuid", lambda: folder.stat().st_uid + 1)


def no_folder(folder, monkeypatch):
    folder.parent.touch()


@pytest.mark.parametrize("what", [open_to_others, of_another_user, no_folder])
def test_what_cannot_be_trusted_is_not_used(folder, monkeypatch, caplog, what):
    what(folder, monkeypatch)
    compiler = Compiler()
    assert kept_step(KEY, compiler) != kept_step(KEY, compiler)
    assert len(caplog.messages) == 2
    for message in caplog.messages:
        assert message.startswith("the compiled step is not kept for other runs: ")
        assert str(folder.parent) in message
    assert not folder.exists() or not list(folder.iterdir())


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:-1],
        lambda content: content[:50] + bytes([content[50] ^ 1]) + content[51:],
    ],
)
def test_a_damaged_step_is_compiled_again(folder, caplog, damage):
    compiler = Compiler()
    kept_step(KEY, compiler)
    path = folder / KEY
    path.write_bytes(damage(path.read_bytes()))
    again = kept_step(KEY, compiler)
    assert compiler.calls == 2
    (message,) = caplog.messages
    assert message == f"{path} is damaged (wrong checksum): it is made again"
    assert kept_step(KEY, compiler) == again


def test_a_second_process_waits_for_the_first(folder, caplog):
    slow = Slow()

    def compile_slowly():
        slow.wait()
        return b"step"

    def never():
        raise AssertionError("compiled twice")

    results = results_of(
        lambda: kept_step(KEY, compile_slowly), lambda: kept_step(KEY, never), slow, caplog
    )
    assert results == [b"step", b"step"]


def test_after_a_compiler_that_fails_another_try_is_free(folder):
    def fail():
        raise ValueError("no such operation")

    with pytest.raises(ValueError, match="no such operation"):
        kept_step(KEY, fail)
    assert kept_step(KEY, lambda: b"step") == b"step"


def test_a_full_disk_costs_no_step(folder, caplog):
    (folder / f"{KEY}.partial").mkdir(parents=True)  # no file can be opened there
    folder.chmod(0o700)
    assert kept_step(KEY, lambda: b"step") == b"step"
    (message,) = caplog.messages
    assert message.startswith("the compiled step is not kept for other runs: ")


def test_the_steps_unused_for_longest_are_deleted(folder, monkeypatch):
    monkeypatch.setattr(step_cache, "MOST_KEPT", 3)
    keys = [f"{number:064}" for number in range(4)]
    for age, key in enumerate(keys[:3]):
        kept_step(key, lambda: b"step")
        os.utime(folder / key, (age, age))
    kept_step(keys[0], lambda: b"step")  # is used again
    kept_step(keys[3], lambda: b"step")
    kept = {path.name for path in folder.iterdir() if path.suffix != ".lock"}
    assert kept == {keys[0], keys[2], keys[3]}
