"""What all pictures of scenes share: colours, image panels, windows."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from air.pictures.colours import step_colour

CELL_SIZE = 1.3  # inches, of a scene
TITLE_HEIGHT = 0.25  # inches, above the first row
FONT_SIZE = 8


def show_image(axis: Axes, image: Tensor) -> None:
    """Show an image, black at 0 and white at 1, without ticks; one unit is one pixel.

    Args:
        axis: where.
        image: (height, width), or (height, width, 3) in colour.
    """
    height, width = image.shape[:2]
    pixels = (image if image.ndim == 2 else image.clamp(0, 1)).cpu().numpy()
    axis.imshow(
        pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest", extent=(0, width, height, 0)
    )
    axis.set_xticks([])
    axis.set_yticks([])


def draw_window(axis: Axes, box: Tensor, t: int) -> None:
    """Draw the edges of a window in its step's colour.

    Args:
        axis: shows the image.
        box: (4,), x0 y0 x1 y1 in pixels.
        t: its step.
    """
    x0, y0, x1, y1 = box.tolist()
    axis.add_patch(
        Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=step_colour(t), linewidth=1.5)
    )


def frame(axis: Axes, colour: str) -> None:
    """Give a panel a coloured frame."""
    for spine in axis.spines.values():
        spine.set_color(colour)
        spine.set_linewidth(2.0)


def grid(num_rows: int, num_columns: int) -> tuple[Figure, list[list[Axes]]]:
    """Return a figure with rows of panels for scenes, and room for titles above the first."""
    figure = Figure(
        figsize=(CELL_SIZE * num_columns, CELL_SIZE * num_rows + TITLE_HEIGHT), layout="constrained"
    )
    axes = figure.subplots(num_rows, num_columns, squeeze=False)
    return figure, [list(row) for row in axes]


def blank(axis: Axes) -> None:
    """Leave a panel empty, except for the name of its row if it is the first."""
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)
