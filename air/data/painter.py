"""What paints scenes of one kind, for `air.data.drawing`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Painted(NamedTuple):
    """Scenes of n objects each that are as they must be.

    Attributes:
        images: (M, S, S) or, in colour, (M, S, S, 3).
        labels: (M, n).
        boxes: (M, n, 4), whole pixels.
        masks: (M, S, S), or None where they are not asked for.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    boxes: NDArray[np.int64]
    masks: NDArray[np.uint8] | None


class Painter:
    """Paints scenes of one kind; each kind is a subclass.

    Attributes:
        must_be: how every scene has to be, for errors.
        instead: what to change where hardly any is, likewise.
    """

    must_be: ClassVar[str]
    instead: ClassVar[str]

    def paint(
        self, num_scenes: int, num_objects: int, random: np.random.Generator, with_masks: bool
    ) -> Painted:
        """Paint scenes of so many objects each and return those that are as they must be."""
        raise NotImplementedError

    def finish(
        self,
        images: NDArray[np.uint8],
        masks: NDArray[np.uint8] | None,
        random: np.random.Generator,
    ) -> None:
        """Change all scenes together, in place, once each is as it must be; here they stay."""

    def material(self) -> Iterator[bytes]:
        """Yield all but the configuration that scenes depend on."""
        yield from ()


def tight_boxes(inside: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return [x0, y0, x1, y1] of the pixels that belong to something, (M, 4).

    Args:
        inside: which pixels do, (M, size, size).
    """
    size = inside.shape[-1]
    columns, rows = (np.asarray(inside.any(axis)) for axis in (1, 2))  # (M, size)
    return np.stack(
        [
            columns.argmax(axis=1),
            rows.argmax(axis=1),
            size - columns[:, ::-1].argmax(axis=1),
            size - rows[:, ::-1].argmax(axis=1),
        ],
        axis=1,
    )
