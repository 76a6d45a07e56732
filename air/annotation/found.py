"""What a model finds in one image file."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from air.data.image_files import Placement
from air.model.posterior import Posterior, presence_probs


@dataclass(frozen=True)
class Found:
    """The objects of one file.

    Attributes:
        name: of the file.
        placement: which part of its image the model saw.
        count: the most probable number of objects.
        count_probs: (T + 1,) exact probabilities.
        boxes: (count, 4) x0 y0 x1 y1 of the windows, in pixels of the file's image; a window may
            reach beyond it.
        z_where: (count, 3) [s, x, y], in the square that the model saw.
        z_what: (count, z_what_size) appearance codes.
        segmentation: (size, size) uint8, what each pixel of the square mostly shows: 0 for the
            background, t + 1 for the t-th object.
    """

    name: str
    placement: Placement
    count: int
    count_probs: Tensor
    boxes: Tensor
    z_where: Tensor
    z_what: Tensor
    segmentation: Tensor

    @property
    def probabilities(self) -> list[float]:
        """That each object is there, which is that there are so many or more."""
        values: list[float] = presence_probs(self.count_probs)[: self.count].tolist()
        return values


def found_in(name: str, placement: Placement, posterior: Posterior, row: int) -> Found:
    """Return what a posterior tells of one file.

    Args:
        name: of the file.
        placement: which part of its image the model saw.
        posterior: of a batch.
        row: of the file in it.
    """
    count = int(posterior.count[row])
    return Found(
        name=name,
        placement=placement,
        count=count,
        count_probs=posterior.count_probs[row],
        boxes=placement.boxes_in_file(posterior.boxes[row, :count]),
        z_where=posterior.z_where[row, :count],
        z_what=posterior.z_what[row, :count],
        segmentation=posterior.segmentation[row],
    )
