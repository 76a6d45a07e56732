"""An attention that sees a map of the image, and what it has taken already."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from air.model.attention.look import (
    Attention,
    ChoosePlace,
    Look,
    Places,
    Render,
    foreground_of,
    hottest,
)
from air.model.canvas import ObjectLatents
from air.model.networks import MIN_SD, MLP, non_linearity_layer
from air.model.sizes import Sizes
from air.model.windows import WherePrior, away_from_zero

_SHARPNESS = 2.0  # of the scores: a map that starts nearly flat soon has peaks
_INHIBITION = 4.0  # how much less likely a place is that has been taken, as a power
_LEAST_LEFT = 1e-3  # of a place that has been taken altogether
_REACH = 1.0  # a window reaches at most e to this times as far, or as little, as at first
_OUTSIDE = -1e4  # the heat beyond the image's edge


class MapState(NamedTuple):
    """What one step hands to the next; the map has G x G places, one for each cell."""

    foreground: Tensor  # (n, channels, x_size, x_size)
    centres: Tensor  # (G,) coordinates of the places' centres
    known: Tensor  # (n, G², channels + 3) of each place: features, centre, log odds of an object
    taken: Tensor  # (n, G, G) how much of a place has been taken
    reach: Tensor | None  # (n, 3) how far the last window takes places; None before the first step


class MapAttention(Attention):
    """Attends to the best place of a convolutional map, and not to what it has taken already.

    The image is cut into cells, and convolutions over them, once an image, say of each place how
    likely an object's centre is there. A step attends to the best place and the eight around it,
    from which it reads z_pres and z_where; where windows have been placed, later steps are
    inhibited (inhibition of return). How far a window inhibits its surroundings, and in which
    directions, is read off the place as well: a 1 takes a narrow strip, and leaves the digit that
    touches it. Nothing else passes from step to step, all that is said of a place comes from its
    surroundings, and nothing is averaged over the image: so it finds as many objects as there are,
    on images of any size.

    The choice of the best place has no gradient, and none passes through where windows have been
    placed: the gradient of the ELBO has a bias, with every estimator alike.

    Args:
        sizes: of the model; its networks that embed images are not used.
        z_where_prior: what q(z_where) is relative to.
        cell_size: width and height of a cell, in pixels.
        channels: of the convolutions over the cells, 3 x 3 each.
        presence_net: hidden layers from a place to q(z_pres).
        inhibition_width: standard deviation of what a window takes at first, in widths of it.
    """

    any_size = True

    def __init__(
        self,
        sizes: Sizes,
        z_where_prior: WherePrior,
        cell_size: int,
        channels: Sequence[int],
        presence_net: Sequence[int],
        inhibition_width: float,
    ) -> None:
        super().__init__()
        layer = non_linearity_layer(sizes.non_linearity)
        layers: list[nn.Module] = []
        cell_pixels = sizes.num_channels * cell_size**2
        for before, after in zip([cell_pixels, *channels], channels, strict=False):
            convolution = nn.Conv2d(before, after, 3, padding=1)
            # PyTorch's default lets the signal fade from layer to layer, and all places look alike.
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
            assert convolution.bias is not None
            nn.init.zeros_(convolution.bias)
            layers += [convolution, layer()]
        self.convolutions = nn.Sequential(*layers)
        self.score = nn.Linear(channels[-1], 1)
        self.where = nn.Linear(channels[-1], 6)
        self.reach = nn.Linear(channels[-1], 3)
        # At first windows lie on their places, as wide as the prior's. Drawn at random, some would
        # be sure of a wrong place, and -log q of dreams in the hundreds: the guide then gives up.
        for of_windows in (self.where, self.reach):
            nn.init.zeros_(of_windows.weight)
            nn.init.zeros_(of_windows.bias)
        self.presence = MLP(channels[-1] + 3, [*presence_net, 1], layer)
        self.z_where_prior = z_where_prior
        self.cell_size = cell_size
        self.inhibition_width = inhibition_width

    def start(self, images: Tensor, background: Tensor | None, render: Render) -> MapState:
        """Draw the map, which does not change from step to step; see `Attention`."""
        foreground = foreground_of(images, background)
        missing = -images.shape[-1] % self.cell_size  # pixels of the last cells
        whole = F.pad(foreground, (0, missing, 0, missing))
        size = whole.shape[-1] // self.cell_size
        split = whole.unflatten(-1, (size, -1)).unflatten(-3, (size, -1))
        cells = split.permute(0, 1, 3, 5, 2, 4).flatten(1, 3)  # (n, channels cell_size², G, G)
        # Channels last, as the steps take them, is also what convolutions are fastest with.
        cells = cells.contiguous(memory_format=torch.channels_last)
        features = self.convolutions(cells).movedim(1, -1)  # (n, G, G, channels)
        pixels = self.cell_size * (torch.arange(size, device=features.device) + 0.5)
        centres = pixels.to(features.dtype) * (2 / images.shape[-1]) - 1
        grid = torch.stack(torch.meshgrid(centres, centres, indexing="xy"), -1)  # (G, G, 2)
        score = _SHARPNESS * self.score(features)
        known = torch.cat((features, grid.expand(len(features), -1, -1, -1), score), -1)
        return MapState(
            foreground,
            centres=centres,
            known=known.flatten(1, 2),
            taken=features.new_zeros(features.shape[:-1]),
            reach=None,
        )

    def forward(
        self, state: MapState, previous: ObjectLatents, choose_place: ChoosePlace = hottest
    ) -> tuple[Look, MapState]:
        """Look for the next object at the best place; see `Attention`."""
        size, taken = len(state.centres), state.taken
        if state.reach is not None:  # else `previous` is no object yet
            taken = taken + self.taken_by(previous, state.reach, state.centres)
        free = _INHIBITION * (1 - taken).clamp(min=_LEAST_LEFT).log().flatten(1)  # (n, G²)
        best = choose_place(Places(state.known[..., -1] + free, state.centres))  # (n, 1)
        step = torch.arange(-1, 2, device=best.device)
        wanted_row = best // size + step.repeat_interleave(3)  # (n, 9)
        wanted_column = best % size + step.repeat(3)
        row, column = wanted_row.clamp(0, size - 1), wanted_column.clamp(0, size - 1)
        inside = (row == wanted_row) & (column == wanted_column)
        around = row * size + column

        known = state.known.take_along_dim(around.unsqueeze(-1), 1)  # (n, 9, channels + 3)
        heat = known[..., -1] + free.gather(1, around)
        weights = torch.where(inside, heat, _OUTSIDE).softmax(-1).unsqueeze(1)  # (n, 1, 9)
        top = heat[:, 4:5]  # of the best place itself, in the middle
        known = torch.cat((known, taken.flatten(1).gather(1, around).unsqueeze(-1)), -1)
        known = (weights @ known).squeeze(1)  # of the place that is attended to
        features, centre, amounts = known.split((known.shape[-1] - 4, 2, 2), -1)

        where = self.where(features)
        z_pres_logit = top + self.presence(torch.cat((features, top, amounts), -1))
        mean, sd = self.z_where_prior.moments(state.foreground.shape[-1])
        scale = mean[:1] + sd[:1] * where[:, :1]
        centre = centre + where[:, 1:3].tanh() / mean[0]  # at most half a window from the place
        look = Look(
            z_pres_logit,
            z_where_loc=torch.cat((scale, -scale * centre), -1),
            z_where_scale=sd * (F.softplus(where[:, 3:] - 1) + MIN_SD),
            view=state.foreground,
        )
        reach = _REACH * (self.reach(features) / _REACH).tanh()
        return look, state._replace(taken=taken, reach=reach)

    def taken_by(self, window: ObjectLatents, reach: Tensor, centres: Tensor) -> Tensor:
        """Return how much of each place a window takes, (n, G, G): 1 at its centre.

        It is exp(-r²/2), with r² = (e^a u)² + (e^c v + b u)² at a place that is u and v standard
        deviations to the right of the window's centre and below it.

        Args:
            window: the object of a step.
            reach: (n, 3), a, b and c; all 0 for a circle.
            centres: (G,), coordinates of places.
        """
        z_where = window.z_where.detach()
        scale = away_from_zero(z_where[:, :1])
        offset = centres + (z_where[:, 1:] / scale).unsqueeze(-1)  # (n, 2, G)
        u, v = (offset * (scale / (2 * self.inhibition_width)).unsqueeze(-1)).unbind(1)  # (n, G)
        a, b, c = reach.unsqueeze(-1).unbind(1)  # (n, 1)
        along = (c.exp() * v).unsqueeze(-1) + (b * u).unsqueeze(1)  # (n, G, G)
        radius = (a.exp() * u).square().unsqueeze(1) + along.square()
        return window.z_pres.unsqueeze(-1) * (-0.5 * radius).exp()
