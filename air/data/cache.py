"""Generated scenes, kept on disk under a hash of all that they depend on."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from air.data.config import SceneConfig
from air.data.drawing import draw_data
from air.data.painter import Painter
from air.data.scenes import Data, Scenes
from air.errors import DataError, WriteError
from air.runs.files import replacing
from air.runs.made_once import made_once

CACHE_VERSION = 2  # increase it when the same configuration would give other scenes

log = logging.getLogger(__name__)


def cached_data(train: Painter, test: Painter, config: SceneConfig) -> Data:
    """Return the scenes of a configuration: from disk when they have been drawn before.

    Of several processes that start at once, one draws and the others wait for it.

    Args:
        train: paints training scenes.
        test: paints test scenes.
        config: how scenes are drawn; they are kept in `config.root`/scenes.

    Returns:
        The same scenes as `draw_data`.

    Raises:
        DataError: the folder cannot be written, or the objects hardly ever fit the canvas.
    """
    key = _content_key(train, test, config)

    def read(path: Path) -> Data:
        return _load(path, key, config)

    def draw(path: Path) -> Data:
        return _draw_and_save(path, key, train, test, config)

    path = Path(config.root).expanduser() / "scenes" / f"{key[:16]}.npz"
    try:
        return made_once(path, read, draw)
    except WriteError as error:
        raise DataError(
            f"data.root: must be a folder that can be written, got {config.root!r} ({error})"
        ) from None


def _content_key(train: Painter, test: Painter, config: SceneConfig) -> str:
    values = {name: value for name, value in vars(config).items() if name not in ("kind", "root")}
    content = hashlib.sha256(json.dumps([CACHE_VERSION, values], sort_keys=True).encode())
    for painter in (train, test):
        for part in painter.material():
            content.update(part)
    return content.hexdigest()


def _draw_and_save(
    path: Path, key: str, train: Painter, test: Painter, config: SceneConfig
) -> Data:
    begin = time.perf_counter()
    data = draw_data(train, test, config)
    seconds = time.perf_counter() - begin
    assert isinstance(data.train, Scenes)  # what is drawn is in memory
    arrays = {"key": np.array(key)} | _arrays("train", data.train) | _arrays("test", data.test)
    with replacing(path) as file:
        np.savez(file, allow_pickle=False, **arrays)
    log.info(
        "drew %d training and %d test scenes in %.1f s, kept in %s",
        *(len(data.train), len(data.test), seconds, path),
    )
    return data


def _load(path: Path, key: str, config: SceneConfig) -> Data:
    begin = time.perf_counter()
    # Opened here, because np.load leaves a damaged file open.
    with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}  # zip compares checksums here
    if arrays["key"] != key:
        raise ValueError("made for another configuration")
    data = Data(
        train=_checked_scenes("train", arrays, config.num_train, config),
        test=_checked_scenes("test", arrays, config.num_test, config),
    )
    log.info(
        "loaded %d training and %d test scenes in %.1f s from %s",
        *(len(data.train), len(data.test), time.perf_counter() - begin, path),
    )
    return data


def _arrays(part: str, scenes: Scenes) -> dict[str, NDArray[np.generic]]:
    assert scenes.count is not None  # generated scenes know their truth
    assert scenes.labels is not None
    assert scenes.boxes is not None
    arrays = {
        f"{part}_images": scenes.images.numpy(),
        f"{part}_count": scenes.count.numpy(),
        f"{part}_labels": scenes.labels.numpy(),
        f"{part}_boxes": scenes.boxes.numpy(),
    }
    return arrays if scenes.masks is None else {**arrays, f"{part}_masks": scenes.masks.numpy()}


def _checked_scenes(
    part: str,
    arrays: Mapping[str, NDArray[np.generic]],
    num_scenes: int,
    config: SceneConfig,
) -> Scenes:
    size, max_objects = config.canvas_size, config.max_objects
    expected: dict[str, tuple[tuple[int, ...], type[np.generic]]] = {
        "images": ((num_scenes, *config.image_shape), np.uint8),
        "count": ((num_scenes,), np.int64),
        "labels": ((num_scenes, max_objects), np.int64),
        "boxes": ((num_scenes, max_objects, 4), np.float32),
    }
    if part == "test":
        expected["masks"] = ((num_scenes, size, size), np.uint8)
    for name, (shape, dtype) in expected.items():
        array = arrays[f"{part}_{name}"]
        if array.shape != shape or array.dtype != dtype:
            raise ValueError(f"{part}_{name} is {array.dtype} {array.shape}")
    return Scenes(**{name: torch.from_numpy(arrays[f"{part}_{name}"]) for name in expected})
