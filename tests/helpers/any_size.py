"""A model that takes images of any size, small enough to follow by hand, and scenes for it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from air.model.attention.look import Attention, Look, foreground_of
from air.model.windows import pixel_centres
from tests.helpers.models import tiny

SMALL, LARGE = 12, 20  # pixels of the model's own canvas, and of another
LEFT, TOP = 5, 2  # of a small scene on a large canvas


class BrightestState(NamedTuple):
    foreground: torch.Tensor  # (n, x_size, x_size)
    scores: torch.Tensor  # (n, x_size, x_size), less where a window has been


class Brightest(Attention):
    """Looks at the pixel whose surroundings are the brightest, and not there again."""

    any_size = True

    def __init__(self, sizes, z_where_prior):
        super().__init__()
        self.score = nn.Conv2d(1, 1, 3, padding=1)
        nn.init.constant_(self.score.weight, 1 / 9)
        nn.init.zeros_(self.score.bias)
        self.presence = nn.Linear(1, 1)
        self.z_where_prior = z_where_prior

    def start(self, images, background, render):
        foreground = foreground_of(images, background)
        return BrightestState(foreground, self.score(foreground.unsqueeze(1)).squeeze(1))

    def forward(self, state, previous):
        x_size = state.scores.shape[-1]
        mean, sd = self.z_where_prior.moments(x_size)
        best, place = state.scores.flatten(1).max(-1, keepdim=True)  # (n, 1)
        pixels = pixel_centres(x_size, best)
        column, row = pixels[place % x_size], pixels[place // x_size]  # (n, 1)
        scale = mean[0].expand_as(best)
        look = Look(
            z_pres_logit=self.presence(best),
            z_where_loc=torch.cat((scale, -scale * column, -scale * row), -1),
            z_where_scale=0.001 * sd.expand(len(best), 3),
            view=state.foreground,
        )
        reach = (1.1 / scale).unsqueeze(-1)  # of a window, in coordinates; no pixel is on its edge
        near = ((pixels - column).abs().unsqueeze(-2) < reach) & (
            (pixels - row).abs().unsqueeze(-1) < reach
        )
        return look, state._replace(scores=state.scores.masked_fill(near, -10.0))


class BrightestChoice:
    """What `AIR` takes as `attention`."""

    def build(self, sizes, z_where_prior):
        return Brightest(sizes, z_where_prior)


def any_size(**arguments):
    torch.manual_seed(3)
    return tiny(
        x_size=SMALL, num_steps=3, scale_prior_mean=3.0, attention=BrightestChoice(), **arguments
    ).double()


CORNERS = ((1, 2), (2, 8), (7, 4))  # row and column of the spots of `scenes`
SPOT = 3  # pixels


def scenes(n=6):
    """Return scenes of three bright spots, each apart from the others and from the edge."""
    images = torch.zeros(n, SMALL, SMALL, dtype=torch.float64)
    for row, column in CORNERS:
        images[:, row : row + SPOT, column : column + SPOT] = torch.rand(n, SPOT, SPOT) * 0.5 + 0.5
    return images


def on_larger(images, left=LEFT, top=TOP, size=LARGE):
    """Return images with black around them."""
    right, bottom = size - SMALL - left, size - SMALL - top
    return F.pad(images, (left, right, top, bottom))
