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

    Below these is what lies behind the objects, where the model has a background.

    Args:
        images: (N, x_size, x_size) or (N, x_size, x_size, 3), uint8 or floats in [0, 1]; N at
            least 1.
        posterior: what was inferred in them.
        true_count: (N,), named beside the inferred count where known.
    """
    inputs = to_unit(images, "cpu")
    rows = {"input": inputs, "reconstruction": posterior.reconstruction}
    if posterior.background is not None:
        rows["background"] = posterior.background
    figure, panels = grid(len(rows), len(images))
    for name, shown, row in zip(rows, rows.values(), panels, strict=True):
        row[0].set_ylabel(name, fontsize=FONT_SIZE)
        for axis, image in zip(row, shown, strict=True):
            show_image(axis, image)
    above = panels[0]
    for i in range(len(images)):
        for t in range(int(posterior.count[i])):
            draw_window(above[i], posterior.boxes[i, t], t)
        truth = "" if true_count is None else f", true {int(true_count[i])}"
        above[i].set_title(f"found {int(posterior.count[i])}{truth}", fontsize=FONT_SIZE)
    return figure


def tracked_reconstructions(images: Tensor, posterior: Posterior) -> list[Picture]:
    """Return each image beside its reconstruction and, where it has one, its background.

    The windows are boxes on the image, and what each object explains is a mask on it.

    Args:
        images: (N, x_size, x_size) or (N, x_size, x_size, 3), uint8 or floats in [0, 1].
        posterior: what was inferred in them.
    """
    inputs = to_unit(images, "cpu")
    pictures = []
    for i in range(len(images)):
        shown = [inputs[i], posterior.reconstruction[i].cpu()]
        if posterior.background is not None:
            shown.append(posterior.background[i].cpu())
        panels = torch.cat(shown, 1)
        segmentation = posterior.segmentation.new_zeros(panels.shape[:2], device="cpu")
        segmentation[:, : inputs.shape[2]] = posterior.segmentation[i]
        boxes = tuple(_tracked_box(posterior, i, t) for t in range(int(posterior.count[i])))
        pixels = (panels.clamp(0, 1) * 255).round().byte().numpy()
        caption = f"found {int(posterior.count[i])}"
        num_steps = posterior.z_pres.shape[1]
        pictures.append(Picture(pixels, caption, boxes, num_steps, segmentation.numpy()))
    return pictures


def _tracked_box(posterior: Posterior, i: int, t: int) -> Box:
    x0, y0, x1, y1 = posterior.boxes[i, t].tolist()
    return Box(x0, y0, x1, y1, step=t)
