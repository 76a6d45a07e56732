"""A model that takes images of any size, small enough to follow by hand, and scenes for it."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from air.model.config import MapConfig
from tests.helpers.models import tiny

SMALL, LARGE = 12, 20  # pixels of the model's own canvas, and of another
LEFT, TOP = 5, 2  # of a small scene on a large canvas


def any_size(**arguments):
    """Return a model that looks at the pixel whose surroundings are the brightest."""
    torch.manual_seed(3)
    attention = MapConfig("map", cell_size=1, channels=[1], presence_net=[], inhibition_width=0.4)
    sizes = {"x_size": SMALL, "num_steps": 3, "scale_prior_mean": 3.0}
    air = tiny(**sizes, attention=attention, **arguments).double()
    with torch.no_grad():
        air.guide.attention.convolutions[0].weight.fill_(1 / 9)
        air.guide.attention.score.weight.fill_(1.0)
        for parameter in air.guide.attention.where.parameters():
            parameter.zero_()  # right where it looks,
        air.guide.attention.where.bias[3:] = -7.0  # and hardly beside it
    return air


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
