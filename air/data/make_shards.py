"""A folder of scenes for `air.data.shards`, drawn a block at a time.

Each block of training scenes has a random stream of its own, a function of the seed and the block's
number alone. So a scene depends neither on how many there are nor on how they are spread over
files, and an interrupted folder can be finished. Held-out scenes are those of the same `data` in
training.
"""

from __future__ import annotations

import json
import logging
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from air.data.config import MakeScenesConfig, SceneConfig
from air.data.drawing import draw_scenes
from air.data.painter import Painter
from air.data.scenes import Scenes
from air.data.shards import MANIFEST, TEST_FILE
from air.errors import DataError
from air.fields import config_values
from air.runs.files import PARTIAL, make_folder, replacing, write_whole
from air.runs.lock import LOCK_FILE, held

BLOCK = 1000  # scenes
SHARDS_VERSION = 1  # increase it when the same settings would give other scenes

log = logging.getLogger(__name__)


def make_shards(config: MakeScenesConfig) -> None:
    """Draw the scenes of a folder, or those that it lacks.

    Args:
        config: how many scenes, how they are drawn, and the folder.

    Raises:
        DataError: the folder holds something else, the disk is too small, or the objects hardly
            ever fit the canvas.
        RunFolderError: another process is filling the folder.
        WriteError: a file cannot be written; those before it are whole.
    """
    folder, settings = Path(config.out).expanduser(), _settings(config)
    _check_folder(folder, settings)
    _check_space(folder, config)
    train, test_painter = config.data.painters()
    train_seed, test_seed = np.random.SeedSequence(config.data.seed).spawn(2)
    test = None
    if not (folder / TEST_FILE).exists():  # before there is a folder: objects may not fit
        test = draw_scenes(test_painter, config.data, config.num_test, test_seed, with_masks=True)

    make_folder(folder)
    with held(folder):
        _check_folder(folder, settings)  # another process may have begun meanwhile
        write_whole(folder / MANIFEST, _as_json(settings))
        if test is not None:
            _write_test(folder / TEST_FILE, test)
        missing = _missing(folder, config)
        num_missing = sum(map(len, missing.values()))
        with tqdm(total=num_missing, desc="drawing", unit=" scenes", disable=None) as progress:
            for path, scenes in missing.items():
                blocks = _blocks(train, config.data, train_seed, scenes)
                _write_file(path, (len(scenes), *config.data.image_shape), blocks, progress)
    log.info("drew %d of %d training scenes: %s is complete", num_missing, config.num_train, folder)
    log.info("train on it: python scripts/train.py data=shards data.path=%s", folder)


def _settings(config: MakeScenesConfig) -> dict[str, Any]:
    """Return all that the content of the folder depends on."""
    values = {**config_values(config), **config_values(config.data), "version": SHARDS_VERSION}
    return {name: value for name, value in values.items() if name not in ("out", "root", "data")}


def _as_json(settings: dict[str, Any]) -> bytes:
    return (json.dumps(settings, indent=2) + "\n").encode()


def _check_folder(folder: Path, settings: dict[str, Any]) -> None:
    """Refuse a folder that holds anything but scenes of the same settings."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise DataError(f"out: {folder}: must be a folder, got a file")
    manifest = folder / MANIFEST
    if not manifest.exists():
        # What a killed process left before it had said what it would draw.
        known = {LOCK_FILE, MANIFEST + PARTIAL}
        others = sorted(path.name for path in folder.iterdir() if path.name not in known)
        if others:
            raise DataError(
                f"out: {folder}: must be a new or empty folder, or one that this command began, "
                f"got one with {others[0]}"
            )
        return
    try:
        before = json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"out: {manifest}: cannot be read: {error}") from None
    before = before if isinstance(before, dict) else {}
    changed = [name for name in settings if before.get(name) != settings[name]]
    if changed:
        was = "; ".join(f"{name}={before.get(name)}, not {settings[name]}" for name in changed)
        raise DataError(
            f"out: {folder}: holds scenes of other settings, which are never overwritten ({was}); "
            f"choose another folder"
        )


def _check_space(folder: Path, config: MakeScenesConfig) -> None:
    truth = 8 + config.data.max_objects * (8 + 4 * 4)  # bytes: count; label and box of each object
    num_drawn = len(list(folder.glob("train-*[0-9].npy"))) * config.scenes_per_file
    num_scenes = max(config.num_train - num_drawn, 0)
    needed = num_scenes * (math.prod(config.data.image_shape) + truth)
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    if needed > free:
        raise DataError(
            f"out: {folder}: needs {needed / 1e9:.1f} GB of disk for {num_scenes} scenes, "
            f"and {free / 1e9:.1f} GB are free"
        )


def _missing(folder: Path, config: MakeScenesConfig) -> dict[Path, range]:
    """Return the files that are not there yet, and which scenes each holds."""
    starts = range(0, config.num_train, config.scenes_per_file)
    files = {
        folder / f"train-{number:05}.npy": range(
            start, min(start + config.scenes_per_file, config.num_train)
        )
        for number, start in enumerate(starts)
    }
    return {path: scenes for path, scenes in files.items() if not path.exists()}


def _blocks(
    painter: Painter, data: SceneConfig, seed: np.random.SeedSequence, scenes: range
) -> Iterator[Scenes]:
    """Draw consecutive scenes; of the first and the last block, only those that are wanted."""
    for number in range(scenes.start // BLOCK, (scenes.stop - 1) // BLOCK + 1):
        stream = np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, number))
        first = number * BLOCK
        wanted = slice(max(scenes.start - first, 0), scenes.stop - first)
        yield draw_scenes(painter, data, BLOCK, stream).subset(wanted)


def _write_file(
    path: Path, shape: tuple[int, ...], blocks: Iterator[Scenes], progress: tqdm[Any]
) -> None:
    """Write one file of images, a block at a time, after the truth that belongs to it."""
    truth: dict[str, list[Any]] = {"count": [], "labels": [], "boxes": []}
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    with replacing(path) as file:
        np.lib.format.write_array_header_1_0(file, header)
        for scenes in blocks:
            file.write(scenes.images.numpy().data)
            for name, arrays in truth.items():
                arrays.append(getattr(scenes, name).numpy())
            progress.update(len(scenes))
        # The images get their name last: a file of images is a complete one.
        for name, arrays in truth.items():
            with replacing(path.with_suffix(f".{name}.npy")) as beside:
                np.save(beside, np.concatenate(arrays))


def _write_test(path: Path, scenes: Scenes) -> None:
    """Write scenes in the form of `data=npz`."""
    arrays = {name: getattr(scenes, name) for name in ("count", "labels", "boxes", "masks")}
    with replacing(path) as file:
        np.savez(file, x=scenes.images.numpy(), **{name: a.numpy() for name, a in arrays.items()})
