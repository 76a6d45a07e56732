"""Where the objects of a dream lie: some beside one another, but not on top of each other."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from air.model.canvas import ObjectLatents
from air.model.generative import GenerativeModel
from air.model.windows import away_from_zero

_COARSER = 2  # times: pixels to see where objects pile up
_NEAREST, _FARTHEST = 0.25, 0.9  # from the centre of one object to that beside it, in windows


def arranged(
    model: GenerativeModel, objects: ObjectLatents, num_places: int, touching: float
) -> Tensor:
    """Return z_where of scenes whose objects may touch, but do not pile up, (n, num_steps, 3).

    Two objects that touch are hard to tell from one, and where objects lie as the prior has it few
    touch: a guide learns from scenes in which more do. But pixels end at 1, so objects that add up
    to more are seldom seen: a guide that learns from such dreams takes one bold object for two. One
    object after the other gets that of several places where those so far leave room for it.

    Args:
        model: whose prior the places come from.
        objects: of n scenes; their own places are tried first.
        num_places: tried for each object.
        touching: the share of objects whose places are all beside one of those so far.
    """
    if num_places == 1 and touching == 0:
        return objects.z_where
    mean, sd = model.z_where_prior.mean, model.z_where_prior.sd
    others = mean + sd * torch.randn_like(objects.z_where.expand(num_places - 1, -1, -1, -1))
    places = torch.cat((objects.z_where.unsqueeze(0), others))  # (num_places, n, num_steps, 3)
    touches = torch.rand_like(objects.z_pres) < touching  # (n, num_steps)
    size = max(1, model.x_size // _COARSER)
    canvas: Tensor | float = 0.0
    chosen: list[Tensor] = []
    for t in range(places.shape[-2]):
        here = places[:, :, t]  # (num_places, n, 3)
        if chosen:
            here = torch.where(touches[:, t, None], beside(torch.stack(chosen), here), here)
        taken = model.coverage(here.unsqueeze(-2), objects.z_what[:, t : t + 1], size).squeeze(-3)
        canvases = canvas + objects.z_pres[:, t, None, None] * taken  # (num_places, n, size, size)
        too_much = (canvases - 1).relu().sum((-1, -2))
        best = too_much.argmin(0).view(1, -1, 1, 1)  # the first of those that are as good
        chosen.append(here.take_along_dim(best[..., 0], 0)[0])  # (n, 3)
        canvas = canvases.take_along_dim(best, 0)[0]
    return torch.stack(chosen, 1)


def beside(windows: Tensor, places: Tensor) -> Tensor:
    """Return places of the same scales, each beside one of a scene's windows, in the image.

    Args:
        windows: (num_windows, n, 3), z_where.
        places: (num_places, n, 3), z_where.
    """
    which = torch.randint(len(windows), places.shape[:-1], device=places.device)
    window = windows.take_along_dim(which.unsqueeze(-1), 0)  # (num_places, n, 3)
    width = 2 / away_from_zero(window[..., :1])  # in the image's coordinates
    distance, angle = torch.rand_like(places[..., :2]).split(1, -1)
    distance = width * (_NEAREST + (_FARTHEST - _NEAREST) * distance)
    angle = 2 * math.pi * angle
    centre = -window[..., 1:] * width / 2 + distance * torch.cat((angle.cos(), angle.sin()), -1)
    scale = away_from_zero(places[..., :1])
    edge = (1 - 1 / scale).clamp(min=0)  # the centre of a window that ends where the image does
    return torch.cat((scale, -scale * centre.clamp(-edge, edge)), -1)
