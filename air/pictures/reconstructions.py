"""Scenes with the windows that were attended to, and what the model makes of them."""

from __future__ import annotations

import torch
from matplotlib.figure import Figure
from torch import Tensor

from air.model.images import to_unit
from air.model.posterior import Posterior
from air.pictures.drawing import FONT_SIZE, draw_window, grid, show_image
from air.tracking.values import Box, Picture


def draw_reconstructions(
    images: Tensor, posterior: Posterior, true_count: Tensor | None = None
) -> Figure:
    """Draw images with the inferred windows, and the reconstructions below (paper, figure 3).

    Args:
        images: (N, x_size, x_size) or (N, x_size, x_size, 3), uint8 or floats in [0, 1]; N at
            least 1.
        posterior: what was inferred in them.
        true_count: (N,), named beside the inferred count where known.
    """
    inputs = to_unit(images, "cpu")
    figure, (above, below) = grid(2, len(images))
    for i in range(len(images)):
        show_image(above[i], inputs[i])
        show_image(below[i], posterior.reconstruction[i])
        for t in range(int(posterior.count[i])):
            draw_window(above[i], posterior.boxes[i, t], t)
        truth = "" if true_count is None else f", true {int(true_count[i])}"
        above[i].set_title(f"found {int(posterior.count[i])}{truth}", fontsize=FONT_SIZE)
    above[0].set_ylabel("input", fontsize=FONT_SIZE)
    below[0].set_ylabel("reconstruction", fontsize=FONT_SIZE)
    return figure


def tracked_reconstructions(images: Tensor, posterior: Posterior) -> list[Picture]:
    """Return each image beside its reconstruction, with the windows as boxes on the left half.

    Args:
        images: (N, x_size, x_size) or (N, x_size, x_size, 3), uint8 or floats in [0, 1].
        posterior: what was inferred in them.
    """
    inputs = to_unit(images, "cpu")
    pictures = []
    for i in range(len(images)):
        pair = torch.cat((inputs[i], posterior.reconstruction[i].cpu()), 1)
        boxes = tuple(_tracked_box(posterior, i, t) for t in range(int(posterior.count[i])))
        pixels = (pair.clamp(0, 1) * 255).round().byte().numpy()
        caption = f"found {int(posterior.count[i])}"
        pictures.append(Picture(pixels, caption, boxes, posterior.z_pres.shape[1]))
    return pictures


def _tracked_box(posterior: Posterior, i: int, t: int) -> Box:
    x0, y0, x1, y1 = posterior.boxes[i, t].tolist()
    return Box(x0, y0, x1, y1, step=t)
