"""Small white pictures on black, of which scenes are made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Cutouts:
    """What scenes are made of, white on black.

    Attributes:
        images: (N, 28, 28) uint8.
        labels: (N,) int64, from 0.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.images)
