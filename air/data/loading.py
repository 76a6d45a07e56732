"""The data set that a configuration names."""

from __future__ import annotations

import functools
from pathlib import Path

from air.data.cache import cached_data
from air.data.config import (
    DataConfig,
    MultiMNISTConfig,
    MultiMNISTFullConfig,
    NpzConfig,
    ShardsConfig,
)
from air.data.digits import bundled_digits, full_mnist
from air.data.npz import load_npz
from air.data.scenes import Data
from air.data.shards import load_shards


@functools.lru_cache(maxsize=1)
def load_data(config: DataConfig) -> Data:
    """Return the data set that a configuration names; a new one is one `case` here.

    The last one is kept in memory: asking for it again costs nothing, and gives the same object.

    Args:
        config: which data set.

    Returns:
        Training scenes, on the CPU or on disk, and test scenes on the CPU.

    Raises:
        DataError: it cannot be read, downloaded, drawn or kept on disk.
    """
    match config:
        case MultiMNISTConfig():
            return cached_data(*bundled_digits(), config)
        case MultiMNISTFullConfig():
            return cached_data(*full_mnist(Path(config.root).expanduser()), config)
        case NpzConfig():
            return load_npz(config)
        case ShardsConfig():
            return load_shards(config)
