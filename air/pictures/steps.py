"""What happens step by step: the window attended to, its decoding, and the canvas so far."""

from __future__ import annotations

from pathlib import Path

import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor
from torchvision.utils import draw_bounding_boxes

from air.model.air import AIR
from air.model.canvas import ObjectLatents
from air.model.images import pictures, planes, to_unit
from air.model.posterior import Posterior
from air.model.windows import image_to_window
from air.pictures.colours import step_colour
from air.pictures.drawing import (
    FONT_SIZE,
    blank,
    draw_window,
    frame,
    grid,
    show_image,
)
from air.runs.files import make_folder, replacing

_ENLARGED = 4  # pixels of an animation for one of the scene
_MILLISECONDS = 900  # of a frame


@torch.no_grad()
def glimpses(air: AIR, images: Tensor, posterior: Posterior) -> Tensor:
    """Crop the images at the windows.

    Args:
        air: that inferred them.
        images: (N, x_size, x_size) or (N, x_size, x_size, 3), uint8 or floats in [0, 1].
        posterior: of the images.

    Returns:
        (N, T, window_size, window_size), or (N, T, window_size, window_size, 3) in colour.
    """
    z_where = posterior.z_where.unsqueeze(-2)  # (N, T, 1, 3)
    inputs = planes(to_unit(images, z_where.device, z_where.dtype)).unsqueeze(1)
    return pictures(image_to_window(z_where, inputs, air.window_size))


@torch.no_grad()
def decodings(air: AIR, posterior: Posterior) -> Tensor:
    """Decode the appearance codes, of the shape of `glimpses`."""
    return air.model.windows(posterior.z_what)


@torch.no_grad()
def canvases(air: AIR, posterior: Posterior) -> Tensor:
    """Return the canvas after 0, 1, … T steps, (N, T + 1, x_size, x_size[, 3]).

    Absent objects change nothing.
    """
    z_pres = posterior.z_pres  # (N, T)
    num_steps = z_pres.shape[-1]
    # The first 0, 1, … T steps, as other choices among the same objects: (T + 1, N, T).
    first = torch.ones(num_steps + 1, num_steps, dtype=z_pres.dtype, device=z_pres.device).tril(-1)
    objects = ObjectLatents(first.unsqueeze(1) * z_pres, posterior.z_where, posterior.z_what)
    behind = None if posterior.background is None else planes(posterior.background)
    x_size = posterior.reconstruction.shape[1]
    return air.model.render(objects, behind, x_size).movedim(0, 1)


def draw_windows(images: Tensor, posterior: Posterior, crops: Tensor, decoded: Tensor) -> Figure:
    """Draw, in a column for each image, the input and each step's window and its decoding.

    Steps after the last object are left blank.

    Args:
        images: (N, x_size, x_size) or (N, x_size, x_size, 3), uint8 or floats in [0, 1].
        posterior: what was inferred in them.
        crops: from `glimpses`.
        decoded: from `decodings`.
    """
    inputs = to_unit(images, "cpu")
    num_steps = max(1, int(posterior.count.max()))
    figure, rows = grid(1 + 2 * num_steps, len(images))
    for i in range(len(images)):
        count = int(posterior.count[i])
        show_image(rows[0][i], inputs[i])
        rows[0][i].set_title(f"found {count}", fontsize=FONT_SIZE)
        for t in range(num_steps):
            crop_axis, decoding_axis = rows[1 + 2 * t][i], rows[2 + 2 * t][i]
            if t >= count:
                for axis in (crop_axis, decoding_axis):
                    blank(axis)
                continue
            draw_window(rows[0][i], posterior.boxes[i, t], t)
            for axis, window in ((crop_axis, crops[i, t]), (decoding_axis, decoded[i, t])):
                show_image(axis, window)
                frame(axis, step_colour(t))
    names = ["input"]
    for t in range(num_steps):
        names += [f"window {t + 1}", f"decoding {t + 1}"]
    for row, name in zip(rows, names, strict=True):
        row[0].set_ylabel(name, fontsize=FONT_SIZE)
    return figure


def draw_build_up(images: Tensor, posterior: Posterior, canvas: Tensor) -> Figure:
    """Draw, in a row for each image, the input and the canvas after each step.

    Args:
        images: (N, x_size, x_size) or (N, x_size, x_size, 3), uint8 or floats in [0, 1].
        posterior: what was inferred in them.
        canvas: from `canvases`.
    """
    inputs = to_unit(images, "cpu")
    num_steps = max(1, int(posterior.count.max()))
    figure, rows = grid(len(images), 2 + num_steps)
    for i, row in enumerate(rows):
        show_image(row[0], inputs[i])
        count = int(posterior.count[i])
        for t in range(num_steps + 1):
            if t > count:
                blank(row[t + 1])
                continue
            show_image(row[t + 1], canvas[i, t])
            if t > 0:
                draw_window(row[t + 1], posterior.boxes[i, t - 1], t - 1)
    for axis, title in zip(
        rows[0], ["input", *(f"after {t}" for t in range(num_steps + 1))], strict=True
    ):
        axis.set_title(title, fontsize=FONT_SIZE)
    return figure


def save_animation(path: Path, images: Tensor, posterior: Posterior, canvas: Tensor) -> None:
    """Write a GIF of the scenes side by side: the input above, the growing canvas below.

    Args:
        path: the file; its folder is made if absent.
        images: (N, x_size, x_size) or (N, x_size, x_size, 3), uint8 or floats in [0, 1].
        posterior: what was inferred in them.
        canvas: from `canvases`.

    Raises:
        WriteError: it cannot be written.
    """
    inputs = to_unit(images, "cpu")
    num_frames = int(posterior.count.max()) + 1
    frames = []
    for shown in range(num_frames):
        columns = []
        for i in range(len(images)):
            steps = min(shown, int(posterior.count[i]))
            columns.append(
                torch.cat(
                    (
                        _with_windows(inputs[i], posterior.boxes[i, :steps]),
                        _with_windows(canvas[i, steps], posterior.boxes[i, :0]),
                    ),
                    -2,
                )
            )
        pixels = torch.cat(columns, -1).permute(1, 2, 0)  # (height, width, 3)
        frames.append(Image.fromarray(pixels.numpy()))
    durations = [_MILLISECONDS] * (num_frames - 1) + [2 * _MILLISECONDS]  # the end stays longer
    make_folder(path.parent)
    with replacing(path) as file:
        frames[0].save(
            file, "GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0
        )


def _with_windows(image: Tensor, boxes: Tensor) -> Tensor:
    """Return an enlarged image with its first windows and a grey edge, (3, height, width) uint8."""
    pixels = (image.cpu().clamp(0, 1) * 255).round().byte()
    pixels = pixels.repeat_interleave(_ENLARGED, 0).repeat_interleave(_ENLARGED, 1)
    of_each = pixels.unsqueeze(0) if pixels.ndim == 2 else pixels.movedim(-1, 0)
    coloured = of_each.expand(3, -1, -1).contiguous()
    if len(boxes):
        colours = [step_colour(t) for t in range(len(boxes))]
        edges = (boxes.cpu() * _ENLARGED).round()
        coloured = draw_bounding_boxes(coloured, edges, colors=colours, width=2)
    coloured[:, :, -1] = coloured[:, -1, :] = 90
    return coloured
