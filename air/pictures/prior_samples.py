"""Scenes drawn from the generative air."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

from air.model.air import AIR
from air.pictures.drawing import FONT_SIZE, grid, show_image


def draw_prior_samples(canvases: Sequence[Tensor], counts: Sequence[int]) -> Figure:
    """Draw sampled scenes, a row for each count.

    Args:
        canvases: for each count (columns, x_size, x_size), or (columns, x_size, x_size, 3).
        counts: the number of objects in each row.
    """
    figure, rows = grid(len(counts), len(canvases[0]))
    for row, images, count in zip(rows, canvases, counts, strict=True):
        for axis, image in zip(row, images, strict=True):
            show_image(axis, image)
        noun = "object" if count == 1 else "objects"
        row[0].set_ylabel(f"{count} {noun}", fontsize=FONT_SIZE)
    return figure


@torch.no_grad()
def sample_scenes(air: AIR, count: int, num: int, seed: int) -> Tensor:
    """Draw scenes with a given number of objects, all else from the prior.

    The caller's random state is left alone.

    Args:
        air: whose objects are drawn.
        count: objects in each scene, 0 or more; it may exceed the model's number of steps.
        num: how many scenes.
        seed: of the draws.

    Returns:
        Canvases (num, x_size, x_size) or (num, x_size, x_size, 3), on the model's device.
    """
    with torch.random.fork_rng([air.device] if air.device.type == "cuda" else []):
        torch.manual_seed(seed)
        # Its z_pres is not used; there is always a step, which an empty scene leaves out.
        objects, background = air.model.draw(num, lambda t: 0.5, max(count, 1))
        z_pres = torch.full_like(objects.z_pres, float(count > 0))
        return air.model.render(objects._replace(z_pres=z_pres), background)
