"""Pictures of what a model sees: the input with its windows, and the reconstruction below it."""

from __future__ import annotations

from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from air.images import to_unit
from air.model import AIR
from air.posterior import Posterior
from air.presence import PresencePrior
from air.tracking import Box, Picture

# The first three steps in red, green, blue as in the paper's figures, in shades that stay apart for
# colour-blind readers and in print; then the same palette's other colours (Wong, 2011).
STEP_COLOURS = ("#D55E00", "#009E73", "#56B4E9", "#F0E442", "#CC79A7", "#E69F00", "#0072B2")
_CELL = 1.3  # inches, of a scene
_TITLE = 0.25  # inches, above a row


def save_reconstructions(
    path: Path, model: AIR, images: Tensor, true_count: Tensor | None = None
) -> None:
    """Draw images with the inferred windows, and what the model makes of them below.

    Args:
        path: a PNG or PDF file to write.
        model: a trained model.
        images: (N, x_size, x_size), uint8 or floats in [0, 1]; N at least 1.
        true_count: (N,), named beside the inferred count where known.
    """
    posterior = model.infer(images)
    inputs = to_unit(images, "cpu")
    figure = Figure(figsize=(_CELL * len(images), 2 * _CELL + _TITLE), layout="constrained")
    axes = figure.subplots(2, len(images), squeeze=False)
    for i in range(len(images)):
        _show(axes[0, i], inputs[i])
        _show(axes[1, i], posterior.reconstruction[i].cpu())
        for t in range(int(posterior.count[i])):
            _draw_window(axes[0, i], posterior.boxes[i, t].tolist(), t)
        inferred = int(posterior.count[i])
        truth = "" if true_count is None else f", true {int(true_count[i])}"
        axes[0, i].set_title(f"found {inferred}{truth}", fontsize=8)
    axes[0, 0].set_ylabel("input", fontsize=8)
    axes[1, 0].set_ylabel("reconstruction", fontsize=8)
    _save(figure, path)


def save_prior_samples(path: Path, model: AIR, num: int, z_pres_prior_p: PresencePrior) -> None:
    """Draw scenes from the generative model, the same ones each time.

    Args:
        path: a PNG or PDF file to write.
        model: a trained model.
        num: how many scenes, at least 1.
        z_pres_prior_p: step -> trial probability of its object.
    """
    device = model.z_where_prior_mean.device
    with torch.no_grad(), torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        (_, z_pres), canvas = model.prior(num, z_pres_prior_p=z_pres_prior_p)
    figure = Figure(figsize=(_CELL * num, _CELL + _TITLE), layout="constrained")
    axes = figure.subplots(1, num, squeeze=False)[0]
    counts = torch.cat(z_pres, -1).sum(-1)
    for axis, image, count in zip(axes, canvas.cpu(), counts, strict=True):
        _show(axis, image)
        axis.set_title(f"objects: {int(count)}", fontsize=8)
    _save(figure, path)


def tracked_reconstructions(model: AIR, images: Tensor) -> list[Picture]:
    """Return each image beside its reconstruction, with the windows as boxes on the left half."""
    posterior = model.infer(images)
    inputs = to_unit(images, "cpu")
    pictures = []
    for i in range(len(images)):
        pair = torch.cat((inputs[i], posterior.reconstruction[i].cpu()), -1)
        boxes = tuple(_tracked_box(posterior, i, t) for t in range(int(posterior.count[i])))
        pixels = (pair.clamp(0, 1) * 255).round().byte().numpy()
        pictures.append(Picture(pixels, f"found {int(posterior.count[i])}", boxes))
    return pictures


def _tracked_box(posterior: Posterior, i: int, t: int) -> Box:
    x0, y0, x1, y1 = posterior.boxes[i, t].tolist()
    return Box(x0, y0, x1, y1, step=t)


def _show(axis: Axes, image: Tensor) -> None:
    axis.imshow(
        image.numpy(), cmap="gray", vmin=0, vmax=1, extent=(0, image.shape[1], image.shape[0], 0)
    )
    axis.set_xticks([])
    axis.set_yticks([])


def _draw_window(axis: Axes, box: list[float], t: int) -> None:
    x0, y0, x1, y1 = box
    colour = STEP_COLOURS[t % len(STEP_COLOURS)]
    axis.add_patch(
        Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=colour, linewidth=1.5)
    )


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=150)
