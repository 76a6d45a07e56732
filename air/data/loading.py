"""The data set that a configuration describes, kept in memory."""

from __future__ import annotations

import functools

from air.data.config import DataConfig
from air.data.scenes import Data


@functools.lru_cache(maxsize=1)
def load_data(config: DataConfig) -> Data:
    """Build the data set that a configuration describes.

    The last one stays in memory: asking for it again costs nothing, and gives the same object.

    Args:
        config: which data set.

    Returns:
        Training scenes, on the CPU or on disk, and test scenes on the CPU.

    Raises:
        DataError: it cannot be read, downloaded, drawn or kept on disk.
    """
    return config.build()
