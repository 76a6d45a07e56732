"""Nothing behind the objects: the ground is black."""

from __future__ import annotations

from torch import Tensor

from air.model.canvas import Background


class NoBackground(Background):
    """The background of the paper's model."""

    any_size = True

    def draw(self, n: int, x_size: int) -> Tensor | None:
        """Draw nothing."""
        return None

    def infer(self, images: Tensor) -> Tensor | None:
        """Infer nothing."""
        return None
