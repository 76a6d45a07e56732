"""Files that are there whole or not at all, and folders that one process works in."""

import contextlib
import os

import pytest

from air.errors import RunFolderError, WriteError
from air.runs.files import make_folder, replacing, write_whole
from air.runs.lock import held, is_held


def test_a_file_is_replaced_also_where_a_killed_process_left_a_part(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"before")
    (tmp_path / "file.partial").write_bytes(b"of a process that was killed")
    write_whole(path, b"after")
    assert path.read_bytes() == b"after"
    assert os.listdir(tmp_path) == ["file"]


def test_what_was_there_stays_when_writing_fails(tmp_path, monkeypatch):
    def full_disk(descriptor):
        raise OSError("No space left on device")

    path = tmp_path / "file"
    write_whole(path, b"before")
    with contextlib.suppress(UnicodeError), replacing(path) as file:
        file.write(b"half")
        file.write("\ud800".encode())
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_disk)
        with pytest.raises(WriteError, match="file: cannot be written: No space left on device"):
            write_whole(path, b"after")
    assert path.read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["file"]
    (tmp_path / "file.partial").mkdir()
    with pytest.raises(WriteError, match="file: cannot be written: Is a directory"):
        write_whole(path, b"after")


def test_the_file_inside_another_is_named_by_its_own_error(tmp_path):
    named = pytest.raises(WriteError, match=r"absent/inner: cannot be written")
    with named, replacing(tmp_path / "outer"):
        write_whole(tmp_path / "absent" / "inner", b"")
    assert not os.listdir(tmp_path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(WriteError, match=r"file/in/it: cannot be written: Not a directory"):
        make_folder(tmp_path / "file" / "in" / "it")


def test_a_folder_is_held_by_one(tmp_path):
    assert not is_held(tmp_path)
    with held(tmp_path):
        assert is_held(tmp_path)
        refused = pytest.raises(RunFolderError, match="another process is running in this folder")
        with refused, held(tmp_path):
            pass
    assert not is_held(tmp_path)
