"""What each object explains: which pixels are its own, beside the truth, and itself alone."""

from __future__ import annotations

import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from torch import Tensor

from air.model.air import AIR
from air.model.canvas import ObjectLatents
from air.model.images import planes, to_unit
from air.model.posterior import Posterior
from air.pictures.colours import step_colour
from air.pictures.drawing import FONT_SIZE, blank, grid, show_image


@torch.no_grad()
def alone(air: AIR, posterior: Posterior) -> Tensor:
    """Return each object by itself on a canvas, (N, T, x_size, x_size[, 3])."""
    x_size = posterior.reconstruction.shape[1]
    return air.model.alone(posterior.z_where, posterior.z_what, x_size)


@torch.no_grad()
def without_background(air: AIR, posterior: Posterior) -> Tensor | None:
    """Return the canvases with nothing behind the objects, (N, x_size, x_size[, 3]).

    None where the model has no background, and so the reconstruction is all objects.
    """
    objects = ObjectLatents(posterior.z_pres, posterior.z_where, posterior.z_what)
    background = None if posterior.background is None else planes(posterior.background)
    return on_ground(air, objects, background)


def on_ground(air: AIR, objects: ObjectLatents, background: Tensor | None) -> Tensor | None:
    """Return objects as `without_background` does.

    Args:
        air: the model.
        objects: of all scenes, with a dimension of steps.
        background: (N, channels, x_size, x_size), what lies behind them, or None for black.
    """
    if background is None:
        return None
    ground = torch.full_like(background, air.model.canvas.compositing.ground)
    return air.model.render(objects, ground, background.shape[-1])


def draw_segmentation(
    images: Tensor,
    posterior: Posterior,
    objects: Tensor,
    canvas: Tensor | None = None,
    true_masks: Tensor | None = None,
) -> Figure:
    """Draw, in a column for each image, which pixels each object explains, and the object alone.

    Args:
        images: (N, x_size, x_size) or (N, x_size, x_size, 3), uint8 or floats in [0, 1].
        posterior: what was inferred in them.
        objects: from `alone`.
        canvas: from `without_background`.
        true_masks: (N, x_size, x_size), the object that each pixel belongs to, 0 for none, where
            known. An object has the colour of the step that explains it.
    """
    num_steps = max(1, int(posterior.count.max()))
    inferred = posterior.segmentation.cpu()
    rows = {"input": to_unit(images, "cpu"), "segmentation": in_colours(inferred)}
    if true_masks is not None:
        matched = [by_step(*pair) for pair in zip(true_masks, inferred, strict=True)]
        rows["true masks"] = in_colours(torch.stack(matched))
    if canvas is not None:
        rows["objects"] = canvas
    figure, panels = grid(len(rows) + num_steps, len(images))
    for name, shown, row in zip(rows, rows.values(), panels, strict=False):
        row[0].set_ylabel(name, fontsize=FONT_SIZE)
        for axis, image in zip(row, shown, strict=True):
            show_image(axis, image)
    for t, row in enumerate(panels[len(rows) :]):
        row[0].set_ylabel(f"object {t + 1}", fontsize=FONT_SIZE)
        for axis, image, count in zip(row, objects[:, t], posterior.count, strict=True):
            if t < count:
                show_image(axis, image)
            else:
                blank(axis)
    return figure


def in_colours(segmentation: Tensor) -> Tensor:
    """Return segmentations (N, S, S) in the colours of their steps on black, (N, S, S, 3)."""
    num_steps = int(segmentation.max())
    colours = [(0.0, 0.0, 0.0), *(to_rgb(step_colour(t)) for t in range(num_steps))]
    return torch.tensor(colours)[segmentation.long()]


def by_step(true: Tensor, inferred: Tensor) -> Tensor:
    """Number true objects as the steps that explain them are, so that both have one colour.

    Each takes the step with which it shares most pixels, the object with the most first; one that
    is left without a step takes the next number that no step has.

    Args:
        true: (S, S), the object that each pixel belongs to, 0 for none.
        inferred: (S, S), t + 1 where the t-th step's object is seen, 0 for none.

    Returns:
        (S, S) int64.
    """
    true, inferred = true.long(), inferred.long()
    num_true = int(true.max())
    num_inferred = int(inferred.max())
    pairs = true * (num_inferred + 1) + inferred
    shared = torch.bincount(pairs.flatten(), minlength=(num_true + 1) * (num_inferred + 1))
    shared = shared.reshape(num_true + 1, num_inferred + 1)[1:, 1:]  # (objects, steps)
    number = torch.zeros(num_true + 1, dtype=torch.long)
    free = set(range(num_inferred))
    for place in shared.flatten().argsort(descending=True, stable=True).tolist():
        i, t = divmod(place, num_inferred)
        if shared[i, t] and not number[i + 1] and t in free:
            number[i + 1] = t + 1
            free.remove(t)
    missed = (number[1:] == 0).nonzero().flatten() + 1
    number[missed] = torch.arange(len(missed)) + num_inferred + 1
    return number[true]
