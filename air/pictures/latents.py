"""Where the latents lie: the z_what space in two dimensions, and where the windows land."""

from __future__ import annotations

import torch
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from matplotlib.patches import Rectangle
from torch import Tensor

from air.model.posterior import Posterior
from air.pictures.colours import step_colour
from air.pictures.drawing import FONT_SIZE

_MAX_POINTS = 3000
_MAX_THUMBNAILS = 150
_THUMBNAIL = 16  # points, width and height


def draw_z_what_space(codes: Tensor, decoded: Tensor, *, inverted: bool = False) -> Figure:
    """Draw appearance codes on their two principal components, with some of their decodings.

    Args:
        codes: (M, z_what_size), M at least 1.
        decoded: (M, window_size, window_size) or (M, window_size, window_size, 3), what they look
            like, in [0, 1].
        inverted: show light as dark: objects on black are clearer so on the page, which is light.
    """
    points, shares = principal_components(codes)
    figure = Figure(figsize=(6, 6), layout="constrained")
    axis = figure.subplots()
    axis.scatter(points[:_MAX_POINTS, 0], points[:_MAX_POINTS, 1], s=3, color="0.75", linewidths=0)
    for i in spread_out(points, _MAX_THUMBNAILS):
        shown = decoded[i].clamp(0, 1)
        shown = 1 - shown if inverted else shown
        rgb = shown if shown.ndim == 3 else shown.unsqueeze(-1).expand(-1, -1, 3)
        pixels = OffsetImage(rgb.numpy(), zoom=_THUMBNAIL / len(shown))
        axis.add_artist(AnnotationBbox(pixels, tuple(points[i].tolist()), frameon=False, pad=0))
    axis.set_xlabel(f"first principal component of z_what ({shares[0]:.0%})", fontsize=FONT_SIZE)
    axis.set_ylabel(f"second ({shares[1]:.0%})", fontsize=FONT_SIZE)
    return figure


def draw_window_places(posterior: Posterior, x_size: int) -> Figure:
    """Draw, for each step, where the windows of present objects are centred, and how wide they are.

    Args:
        posterior: of many images.
        x_size: width and height of an image, in pixels.
    """
    num_steps = max(1, int(posterior.count.max()))
    figure = Figure(figsize=(2.4 * num_steps + 3, 2.8), layout="constrained")
    axes = figure.subplots(1, num_steps + 1, squeeze=False)[0]
    for t in range(num_steps):
        present = posterior.count > t
        boxes = posterior.boxes[present, t].cpu()
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        axis, widths_axis = axes[t], axes[-1]
        axis.scatter(
            centres[:, 0], centres[:, 1], s=4, alpha=0.3, color=step_colour(t), linewidths=0
        )
        axis.add_patch(Rectangle((0, 0), x_size, x_size, fill=False, edgecolor="0.4"))
        room = 0.15 * x_size
        axis.set(xlim=(-room, x_size + room), ylim=(x_size + room, -room), aspect="equal")
        axis.set_title(f"step {t + 1}: {len(boxes)} windows", fontsize=FONT_SIZE)
        if len(boxes):
            widths = (boxes[:, 2] - boxes[:, 0]).numpy()
            widths_axis.hist(
                widths, bins=30, histtype="step", color=step_colour(t), label=f"step {t + 1}"
            )
    axes[0].set_ylabel("centre, pixels", fontsize=FONT_SIZE)
    axes[-1].set_xlabel("width of a window, pixels", fontsize=FONT_SIZE)
    axes[-1].set_ylabel("windows", fontsize=FONT_SIZE)
    if axes[-1].patches:
        axes[-1].legend(fontsize=FONT_SIZE)
    return figure


def principal_components(codes: Tensor) -> tuple[Tensor, list[float]]:
    """Project codes on their first two principal components.

    Args:
        codes: (M, size).

    Returns:
        (M, 2), and each component's share of the variance. What the codes lack, because there are
        too few of them or they have one dimension, is 0.
    """
    centred = (codes - codes.mean(0)).double()
    _, scales, directions = torch.linalg.svd(centred, full_matrices=False)
    # A direction's sign means nothing: make its largest entry positive, so that pictures compare.
    signs = directions.gather(1, directions.abs().argmax(1, keepdim=True)).sign()
    points = torch.zeros(len(codes), 2, dtype=torch.double)
    found = min(2, len(directions))
    points[:, :found] = centred @ (directions * signs)[:found].T
    variances = scales**2
    shares = [0.0, 0.0]
    if variances.sum() > 0:
        shares[:found] = (variances[:found] / variances.sum()).tolist()
    return points, shares


def spread_out(points: Tensor, num: int) -> list[int]:
    """Choose points that keep a distance from one another, so that thumbnails hardly overlap.

    Args:
        points: (M, 2).
        num: how many, at most.

    Returns:
        Their places among the points.
    """
    extent = (points.amax(0) - points.amin(0)).clamp(min=1e-9)
    scaled = (points - points.amin(0)) / extent  # in the unit square
    distance = 0.8 / num**0.5
    chosen: list[int] = []
    for i in range(len(scaled)):
        if len(chosen) == num:
            break
        if not chosen or (scaled[chosen] - scaled[i]).norm(dim=-1).min() > distance:
            chosen.append(i)
    return chosen
