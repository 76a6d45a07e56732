"""What a trained model says about images: `infer` and its typed result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from pyro import poutine
from pyro.poutine.messenger import Messenger
from torch import Tensor
from torch.nn import functional as F

from air.model.images import to_unit
from air.model.parameters import OwnParameters
from air.model.windows import window_boxes

if TYPE_CHECKING:
    from air.model.air import AIR

_CHUNK = 500  # images at a time, which bounds memory


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
        reconstruction: (N, x_size, x_size) the canvas of the first `count` objects.
    """

    count: Tensor
    count_probs: Tensor
    z_pres: Tensor
    z_where: Tensor
    z_what: Tensor
    boxes: Tensor
    reconstruction: Tensor


class _PosteriorMeans(Messenger):
    """Gives every latent site of the guide its mean instead of a draw."""

    def _pyro_sample(self, message: Any) -> None:
        if not message["is_observed"] and message["name"].startswith("z_w"):
            message["value"] = message["fn"].mean
            message["done"] = True


@torch.no_grad()
def infer(
    model: AIR, images: Tensor, num_steps: int | None = None, *, sample: bool = False
) -> Posterior:
    """Find, count and describe the objects of images.

    The guide runs once with every z_pres set to 1, which gives the windows, the codes and the exact
    probability of every count along that path. Half precision, of the model or by autocast, is
    enough here, and here alone; probabilities and boxes are in single precision then.

    Args:
        model: a trained `AIR`.
        images: (N, x_size, x_size), as scenes hold them: uint8, or floats in [0, 1].
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
    parts = [_infer_chunk(model, chunk, num_steps, sample) for chunk in images.split(_CHUNK)]
    return Posterior(
        **{
            name: torch.cat([getattr(part, name) for part in parts])
            for name in Posterior.__dataclass_fields__
        }
    )


def count_log_probs(presence_logits: Tensor) -> Tensor:
    """Return log q(n) = log (1 - π_n) + Σ_{t<n} log π_t, without the first term at n = T.

    Args:
        presence_logits: (..., T) log odds of π_t, along the path on which every object is present.

    Returns:
        (..., T + 1) log probabilities of the counts 0…T.
    """
    present = F.logsigmoid(presence_logits).cumsum(-1)
    absent = F.logsigmoid(-presence_logits)
    return F.pad(present, (1, 0)) + F.pad(absent, (0, 1))


def _infer_chunk(model: AIR, images: Tensor, num_steps: int, sample: bool) -> Posterior:
    like = model.z_where_prior_mean
    batch = to_unit(images, like.device, like.dtype)  # (n, x_size, x_size)
    n = batch.shape[0]
    all_present = {f"z_pres_{t}": batch.new_ones(n, 1) for t in range(num_steps)}
    guide = poutine.condition(model.guide, data=all_present)
    if not sample:
        guide = _PosteriorMeans()(guide)
    with OwnParameters():
        nodes: Any = poutine.trace(guide).get_trace(batch, num_steps=num_steps).nodes

    def stacked(name: str) -> Tensor:
        return torch.stack([nodes[f"{name}_{t}"]["value"] for t in range(num_steps)], 1)

    # Sums of logarithms and places in pixels have too many digits for half precision.
    wide = torch.promote_types(batch.dtype, torch.float32)
    logits = [nodes[f"z_pres_{t}"]["fn"].base_dist.logits for t in range(num_steps)]
    count_probs = count_log_probs(torch.cat(logits, -1).to(wide)).softmax(-1)  # (n, T + 1)
    count = torch.multinomial(count_probs, 1).squeeze(-1) if sample else count_probs.argmax(-1)

    z_where, z_what = stacked("z_where"), stacked("z_what")
    z_pres = (torch.arange(num_steps, device=count.device) < count.unsqueeze(-1)).to(batch.dtype)
    return Posterior(
        count=count,
        count_probs=count_probs,
        z_pres=z_pres,
        z_where=z_where,
        z_what=z_what,
        boxes=window_boxes(z_where.to(wide), model.x_size),
        reconstruction=model.render(z_pres, z_where, z_what),
    )
