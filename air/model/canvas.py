"""How objects become an image: each is placed, and they are composed over a background."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from air.model.windows import window_to_image


class ObjectLatents(NamedTuple):
    """What is drawn of objects; where there are several steps, before the last dimension."""

    z_pres: Tensor  # (N, 1) of one step, (N, num_steps) of several
    z_where: Tensor  # (N, 3) or (N, num_steps, 3)
    z_what: Tensor  # (N, z_what_size) or (N, num_steps, z_what_size)


def together(steps: Sequence[ObjectLatents]) -> ObjectLatents:
    """Return the objects of one step each, at least one, as those of several steps."""
    return ObjectLatents(
        torch.cat([step.z_pres for step in steps], -1),  # (n, num_steps)
        torch.stack([step.z_where for step in steps], -2),  # (n, num_steps, 3)
        torch.stack([step.z_what for step in steps], -2),  # (n, num_steps, z_what_size)
    )


class Painted(Protocol):
    """A canvas that has been painted, pixels in a row; it may put off the work of painting it."""

    @property
    def shape(self) -> torch.Size:
        """(..., n, pixels)."""
        ...

    @property
    def pixels(self) -> Tensor:
        """The canvas itself, (..., n, pixels)."""
        ...

    def squared_distance(self, images: Tensor, num_parts: int | None = None) -> Tensor:
        """Return |image - canvas|².

        Args:
            images: (..., n, pixels).
            num_parts: equal parts of the pixels, such as channels, with a distance of their own.

        Returns:
            (..., n) or, in parts, (..., n, num_parts).
        """
        ...

    def expand(self, batch_shape: torch.Size) -> Painted:
        """Return the same with its leading dimensions expanded."""
        ...


class Compositing(nn.Module):
    """How placed objects make one canvas; each kind is a subclass.

    Attributes:
        num_layers: planes that the decoder gives for each object.
        biased: those of them that the decoder's output bias is added to.
        ground: brightness that objects are shown on by themselves.
    """

    num_layers: int
    biased: slice = slice(None)
    ground: float = 0.0

    def to_place(self, windows: Tensor) -> Tensor:
        """Return what of decoded windows is placed, (..., num_layers, S, S) both: themselves."""
        return windows

    def coverage(self, layers: Tensor) -> Tensor:
        """Return how much of each pixel an object takes: (..., num_layers, S, S) -> (..., S, S)."""
        raise NotImplementedError

    def alone(self, layers: Tensor) -> Tensor:
        """Show objects on the `ground`: (..., num_layers, S, S) -> (..., channels, S, S)."""
        raise NotImplementedError

    def shares(self, z_pres: Tensor, layers: Tensor) -> Tensor:
        """Return how much of each pixel is the background's and each object's, where it is seen.

        Args:
            z_pres: (n, num_steps), 0 or 1.
            layers: (n, num_steps, num_layers, S, S), of every object, placed.

        Returns:
            (n, 1 + num_steps, S, S), the background first.
        """
        raise NotImplementedError

    def uncovered(self, layers: Tensor) -> Tensor | None:
        """Return what objects look like where nothing else is seen; None where they add up.

        Args:
            layers: (n, num_steps, num_layers, S, S), of every object, placed.

        Returns:
            (n, num_steps, channels, S, S).
        """
        return None

    def hidden(self, z_pres: Tensor, layers: Tensor) -> Tensor | None:
        """Return the share of each object that each of the others hides; None where none ever does.

        Args:
            z_pres: (n, num_steps), 0 or 1.
            layers: (n, num_steps, num_layers, S, S), of every object, placed.

        Returns:
            (n, num_steps, num_steps): of the t-th object, by the s-th.
        """
        return None

    def forward(self, z_pres: Tensor, layers: Tensor, background: Tensor | None) -> Painted:
        """Compose the objects that are present.

        Args:
            z_pres: (..., n, num_steps), 0 or 1, and no 1 after a 0; leading dimensions hold other
                numbers of objects.
            layers: (n, num_steps, num_layers, S, S), of every object, placed.
            background: (n, channels, S, S), or None for black.
        """
        raise NotImplementedError


class Background(nn.Module):
    """What lies behind the objects, which model and guide share; each kind is a subclass.

    Attributes:
        any_size: whether it lies behind images of any size, or of the model's own alone.
    """

    any_size: bool = False

    def draw(self, n: int, x_size: int) -> Tensor | None:
        """Draw n backgrounds in the program `model`, (n, channels, x_size, x_size), or None."""
        raise NotImplementedError

    def infer(self, images: Tensor) -> Tensor | None:
        """Infer those of images (n, channels, S, S) in the program `guide`; None for black."""
        raise NotImplementedError

    def start_at(self, images: Tensor, grounds: Tensor) -> None:
        """Begin with what lies behind the objects of some training images; here with nothing.

        Args:
            images: (n, channels, S, S).
            grounds: what has been found to lie behind their objects, likewise.
        """


class Likelihood(nn.Module):
    """What an image is, given its canvas; each kind is a subclass."""

    def forward(self, canvas: Painted) -> TorchDistribution:
        """Return the distribution of images, all pixels in a row, given the canvas."""
        raise NotImplementedError

    def of_pixels(self, images: Tensor, canvas: Tensor) -> Tensor:
        """Return the log probability of each pixel, up to what is the same for all canvases.

        Args:
            images: (..., channels, S, S).
            canvas: one that has been painted, likewise.

        Returns:
            (..., S, S).
        """
        raise NotImplementedError

    def exposed(self, canvas: Tensor) -> Tensor:
        """Return canvases, of any shape, as images that the data could hold, but for noise."""
        return canvas.clamp(0, 1)  # where real pixels end

    def metrics(self) -> dict[str, float]:
        """Return what has been learned of it, to be logged; here nothing is."""
        return {}


class Canvas(nn.Module):
    """Where objects are placed and composed.

    Args:
        window_size: width and height of a window, in pixels.
        compositing: how objects make one image.
        background: what lies behind them.
    """

    def __init__(self, window_size: int, compositing: Compositing, background: Background) -> None:
        super().__init__()
        self.window_size = window_size
        self.compositing = compositing
        self.background = background

    def layers(self, decoded: Tensor) -> Tensor:
        """Return decoded objects as windows: (..., pixels) -> (..., num_layers, size, size)."""
        size = (self.compositing.num_layers, self.window_size, self.window_size)
        return self.compositing.to_place(decoded.unflatten(-1, size))

    def place(self, z_where: Tensor, decoded: Tensor, x_size: int) -> Tensor:
        """Place decoded objects, each on a canvas of its own.

        The steps do not depend on one another here, so one pass does all of them.

        Args:
            z_where: (n, num_steps, 3).
            decoded: (n, num_steps, num_layers window_size²).
            x_size: width and height of a canvas, in pixels.

        Returns:
            (n, num_steps, num_layers, x_size, x_size).
        """
        return window_to_image(z_where.unsqueeze(-2), self.layers(decoded), x_size)
