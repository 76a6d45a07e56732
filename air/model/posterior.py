"""What a trained model says about images: `infer` and its typed result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from pyro import poutine
from torch import Tensor

from air.model.canvas import ObjectLatents
from air.model.full_path import count_log_probs, full_path
from air.model.generative import GenerativeModel
from air.model.guide import Guide
from air.model.images import pictures, planes, to_unit
from air.model.parameters import OwnParameters
from air.model.windows import window_boxes

_CHUNK = 500  # images of the model's own size at a time, which bounds memory


@dataclass(frozen=True)
class Posterior:
    """The objects inferred in N images, with room for T = num_steps each.

    Attributes:
        count: (N,) number of objects: the most probable one, or a draw when sampling.
        count_probs: (N, T + 1) q(count), summing to 1.
        z_pres: (N, T) 1 for the first `count` steps, 0 after.
        z_where: (N, T, 3) [s, x, y] of each window, also where z_pres is 0.
        z_what: (N, T, z_what_size) appearance codes.
        boxes: (N, T, 4) x0 y0 x1 y1 of each window, in pixels.
        reconstruction: (N, x_size, x_size), or (N, x_size, x_size, 3) in colour: the canvas of the
            first `count` objects.
        segmentation: (N, x_size, x_size) uint8, what each pixel most probably shows: 0 for the
            background, t + 1 for the t-th object.
        background: what lies behind the objects, of the shape of `reconstruction`; None for black.
    """

    count: Tensor
    count_probs: Tensor
    z_pres: Tensor
    z_where: Tensor
    z_what: Tensor
    boxes: Tensor
    reconstruction: Tensor
    segmentation: Tensor
    background: Tensor | None


def presence_probs(count_probs: Tensor) -> Tensor:
    """Return the probability that each step has an object: (..., T + 1) of counts -> (..., T)."""
    return count_probs.flip(-1).cumsum(-1).flip(-1)[..., 1:].clamp(max=1)


@torch.no_grad()
def infer(
    model: GenerativeModel,
    guide: Guide,
    images: Tensor,
    num_steps: int | None = None,
    *,
    sample: bool = False,
) -> Posterior:
    """Find, count and describe the objects of images.

    The guide runs once with every z_pres set to 1, which gives the windows, the codes and the exact
    probability of every count along that path. Half precision, of the model or by autocast, is
    enough here, and here alone; probabilities and boxes are in single precision then.

    Args:
        model: of a trained `AIR`.
        guide: of the same.
        images: (N, x_size, x_size) or (N, x_size, x_size, 3), as scenes hold them: uint8, or floats
            in [0, 1]. Unless the guide takes any, x_size is the model's own.
        num_steps: the most objects to look for; the model's own number by default, but not at most.
        sample: draw the windows, the codes and the count, instead of posterior means and the most
            probable count.

    Returns:
        A `Posterior`, on the model's device.

    Raises:
        ValueError: `num_steps` is below 1.
    """
    num_steps = model.num_steps if num_steps is None else num_steps
    if num_steps < 1:
        raise ValueError(f"num_steps must be 1 or more, got {num_steps}")
    chunks = images.split(max(1, _CHUNK * model.x_size**2 // images.shape[-1] ** 2))
    return concatenated([_infer_chunk(model, guide, chunk, num_steps, sample) for chunk in chunks])


def concatenated(parts: Sequence[Posterior]) -> Posterior:
    """Return the posteriors of some images after one another as one."""
    names = [field.name for field in fields(Posterior)]
    columns = {name: [getattr(part, name) for part in parts] for name in names}
    joined: dict[str, Any] = {
        name: None if each[0] is None else torch.cat(each) for name, each in columns.items()
    }
    return Posterior(**joined)


def _infer_chunk(
    model: GenerativeModel, guide: Guide, images: Tensor, num_steps: int, sample: bool
) -> Posterior:
    like = guide.z_where_init
    batch = to_unit(images, like.device, like.dtype)  # (n, x_size, x_size), or with colours
    n, x_size = batch.shape[:2]
    with OwnParameters():
        path = full_path(guide, batch, use_means=not sample, num_steps=num_steps)
        background = poutine.replay(model.canvas.background.draw, trace=path.trace)(n, x_size)
    # Sums of logarithms and places in pixels have too many digits for half precision.
    wide = torch.promote_types(batch.dtype, torch.float32)
    count_probs = count_log_probs(path.presence_logits.to(wide)).softmax(-1)  # (n, T + 1)
    count = torch.multinomial(count_probs, 1).squeeze(-1) if sample else count_probs.argmax(-1)
    z_pres = (torch.arange(num_steps, device=count.device) < count.unsqueeze(-1)).to(batch.dtype)
    objects = ObjectLatents(z_pres, path.z_where, path.z_what)
    reconstruction, segmentation = model.render_and_segment(
        objects, background, x_size, planes(batch)
    )
    return Posterior(
        count=count,
        count_probs=count_probs,
        z_pres=z_pres,
        z_where=path.z_where,
        z_what=path.z_what,
        boxes=window_boxes(path.z_where.to(wide), x_size),
        reconstruction=reconstruction,
        segmentation=segmentation,
        background=None if background is None else pictures(background),
    )
