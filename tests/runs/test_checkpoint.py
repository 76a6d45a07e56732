"""Checkpoints: round trip, atomic, safe to load, and clear about what is wrong."""

import os

import pytest
import torch

import air
from air.errors import CheckpointError, DamagedCheckpointError
from air.runs.checkpoint import (
    load_weights,
    numbered_checkpoints,
    read_latest,
    save_checkpoint,
)
from tests.helpers.checkpoints import checkpoint_of
from tests.helpers.models import tiny, tiny_values


def test_round_trip_through_a_folder_and_a_file(tmp_path):
    arguments = {"encoder_net": [3], "embed_channels": [2], "z_what_size": 4}
    model = tiny(**arguments)
    save_checkpoint(tmp_path, checkpoint_of(model, **arguments))
    (path,) = numbered_checkpoints(tmp_path)
    images = torch.rand(4, 6, 6)
    for source in (tmp_path, str(tmp_path), path):
        loaded = air.load(source)
        assert not loaded.training
        assert torch.equal(loaded.infer(images).count_probs, model.infer(images).count_probs)
    content = torch.load(path, weights_only=True)
    assert content["config"] == tiny_values(**arguments)


def test_the_last_two_are_kept(tmp_path):
    model = tiny()
    for iteration in (5, 10, 15, 100):
        save_checkpoint(tmp_path, checkpoint_of(model, iteration))
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["00000015.pt", "00000100.pt"]
    assert read_latest(tmp_path)[1].iteration == 100


def test_those_that_are_to_be_kept_stay_beside_the_last_two_and_are_found(tmp_path):
    models = {iteration: tiny() for iteration in (0, 5, 10, 15, 20)}
    for iteration, model in models.items():
        save_checkpoint(tmp_path, checkpoint_of(model, iteration), keep_at=[0, 10, 17])
    assert [int(file.stem) for file in numbered_checkpoints(tmp_path)] == [0, 10, 15, 20]
    images = torch.rand(2, 6, 6)
    for which, iteration in ((0, 0), (10, 10), ("latest", 20)):
        found = air.load(tmp_path, which=which).infer(images).count_probs
        assert torch.equal(found, models[iteration].infer(images).count_probs)
    with pytest.raises(CheckpointError, match=r"which: must be .* has, 0, 10, 15, 20, got 5"):
        air.load(tmp_path, which=5)


def flip_a_bit(content):
    middle = len(content) // 2  # in a tensor
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize("damage", [flip_a_bit, lambda whole: whole[:99], lambda whole: b""])
def test_the_one_before_a_damaged_checkpoint_is_used_with_a_warning(tmp_path, caplog, damage):
    model = tiny()
    save_checkpoint(tmp_path, checkpoint_of(model, 5))
    save_checkpoint(tmp_path, checkpoint_of(tiny(), 10))
    before, last = numbered_checkpoints(tmp_path)
    assert read_latest(tmp_path)[0] == last
    assert not caplog.records
    last.write_bytes(damage(last.read_bytes()))
    path, checkpoint = read_latest(tmp_path)
    assert (path, checkpoint.iteration) == (before, 5)
    (warning,) = caplog.messages
    assert warning.startswith(f"{last}: damaged")
    assert warning.endswith(f"; using {before} instead")
    loaded = air.load(tmp_path)
    assert torch.equal(loaded.guide.z_what_init, model.guide.z_what_init)
    with pytest.raises(DamagedCheckpointError, match=str(last)):  # a file means that file
        air.load(last)
    before.write_bytes(b"")
    with pytest.raises(DamagedCheckpointError, match=str(last)):
        read_latest(tmp_path)


def test_a_checkpoint_that_cannot_be_read_is_not_taken_for_a_damaged_one(tmp_path):
    for iteration in (5, 10):
        save_checkpoint(tmp_path, checkpoint_of(tiny(), iteration))
    _, last = numbered_checkpoints(tmp_path)
    last.unlink()
    last.mkdir()
    with pytest.raises(CheckpointError, match=r"10\.pt: cannot be read: Is a directory"):
        read_latest(tmp_path)


def test_a_run_that_went_back_drops_what_came_later_once_it_has_got_further(tmp_path):
    for iteration in (10, 20):
        save_checkpoint(tmp_path, checkpoint_of(tiny(), iteration))
    save_checkpoint(tmp_path, checkpoint_of(tiny(), 13))
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["00000010.pt", "00000013.pt"]


def test_what_is_not_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="has no checkpoint yet"):
        air.load(tmp_path)
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        air.load(tmp_path / "absent.pt")
    save_checkpoint(tmp_path, checkpoint_of(tiny()))
    (path,) = numbered_checkpoints(tmp_path)
    whole = path.read_bytes()
    for damaged in (b"", b"hello", whole[: len(whole) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="damaged") as caught:
            air.load(path)
        assert "\n" not in str(caught.value)
    torch.save({"a": 1}, path)
    with pytest.raises(CheckpointError, match="not a checkpoint of AIR"):
        air.load(path)
    torch.save({"format": 99}, path)
    with pytest.raises(CheckpointError, match="format must be 2, got 99"):
        air.load(path)
    torch.save({"format": 2}, path)
    with pytest.raises(CheckpointError, match="must hold"):
        air.load(path)


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    class Harmful:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "harm"),))

    torch.save({"format": 1, "config": Harmful()}, tmp_path / "harmful.pt")
    with pytest.raises(CheckpointError, match="damaged, or not a checkpoint"):
        air.load(tmp_path / "harmful.pt")
    assert not (tmp_path / "harm").exists()


def test_another_architecture_is_named():
    other = checkpoint_of(tiny(rnn_hidden_size=7))
    with pytest.raises(CheckpointError, match=r"another architecture: \S+ must have the shape"):
        load_weights(tiny(), other.model, "somewhere")
