"""An attention that sees a map of the image, and what it has taken already."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from air.model.attention.look import Attention, Look, Render, foreground_of
from air.model.canvas import ObjectLatents
from air.model.networks import MIN_SD, MLP, non_linearity_layer
from air.model.sizes import Sizes
from air.model.windows import WherePrior, away_from_zero

_SHARPNESS = 2.0  # of the scores: a map that starts nearly flat soon has peaks
_INHIBITION = 4.0  # how much less likely a place is that has been taken, as a power
_LEAST_LEFT = 1e-3  # of a place that has been taken altogether
_OUTSIDE = -1e4  # the score beyond the image's edge


class MapState(NamedTuple):
    """What one step hands to the next; the map has G x G cells, with an edge around the image."""

    foreground: Tensor  # (n, x_size, x_size)
    centres: Tensor  # (G,) coordinates of the cells' centres
    score: Tensor  # (n, G, G) log odds of an object there
    places: Tensor  # (n, G², 6 + channels), what is known of each
    taken: Tensor | None  # (n, G, G) how much of a place has been taken; None before the first step


class MapAttention(Attention):
    """Attends to the best place of a convolutional map, and not to what it has taken already.

    The image is cut into cells, and convolutions over them, once an image, say of each place how
    likely an object's centre is there. A step attends to the best place and the eight around it,
    from which it reads z_pres and z_where; where windows have been placed, later steps are
    inhibited (inhibition of return). Nothing else passes from step to step, all that is said of a
    place comes from its surroundings, and nothing is averaged over the image: so it finds as many
    objects as there are, on images of any size.

    The choice of the best place has no gradient, and none passes through what has been taken: the
    gradient of the ELBO has a bias, with every estimator alike.

    Args:
        sizes: of the model; its networks that embed images are not used.
        z_where_prior: what q(z_where) is relative to.
        cell_size: width and height of a cell, in pixels.
        channels: of the convolutions over the cells, 3 x 3 each.
        presence_net: hidden layers from a place to q(z_pres).
        inhibition_width: standard deviation of what a window takes, in widths of it.
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
        for before, after in zip([cell_size**2, *channels], channels, strict=False):
            convolution = nn.Conv2d(before, after, 3, padding=1)
            # PyTorch's default lets the signal fade from layer to layer, and all places look alike.
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
            assert convolution.bias is not None
            nn.init.zeros_(convolution.bias)
            layers += [convolution, layer()]
        self.convolutions = nn.Sequential(*layers)
        self.score = nn.Linear(channels[-1], 1)
        self.where = nn.Linear(channels[-1], 6)
        self.presence = MLP(channels[-1] + 3, [*presence_net, 1], layer)
        self.z_where_prior = z_where_prior
        self.cell_size = cell_size
        self.inhibition_width = inhibition_width

    def start(self, images: Tensor, background: Tensor | None, render: Render) -> MapState:
        """Draw the map, which does not change from step to step; see `Attention`."""
        foreground = foreground_of(images, background)
        missing = -images.shape[-1] % self.cell_size  # pixels of the last cells
        whole = F.pad(foreground.unsqueeze(1), (0, missing, 0, missing))
        cells = F.pixel_unshuffle(whole, self.cell_size)  # (n, cell_size², g, g)
        features = self.convolutions(cells).movedim(1, -1)  # (n, g, g, channels)
        score = _SHARPNESS * self.score(features).squeeze(-1)
        places = torch.cat((self.where(features), features), -1)
        size = score.shape[-1] + 2
        pixels = self.cell_size * (torch.arange(size, device=score.device) - 0.5)
        return MapState(
            foreground,
            centres=pixels.to(score.dtype) * (2 / images.shape[-1]) - 1,
            score=F.pad(score, (1, 1, 1, 1), value=_OUTSIDE),
            places=F.pad(places, (0, 0, 1, 1, 1, 1)).flatten(1, 2),
            taken=None,
        )

    def forward(self, state: MapState, previous: ObjectLatents) -> tuple[Look, MapState]:
        """Look for the next object at the best place; see `Attention`."""
        centres, size = state.centres, len(state.centres)
        if state.taken is None:  # `previous` is no object yet
            taken = torch.zeros_like(state.score)
        else:
            taken = state.taken + self.taken_by(previous, centres)
        heat = state.score + _INHIBITION * (1 - taken).clamp(min=_LEAST_LEFT).log()  # (n, G, G)
        best = heat.flatten(1).argmax(-1, keepdim=True)  # (n, 1)
        step = torch.arange(-1, 2, device=best.device)
        around = best + (size * step.unsqueeze(-1) + step).flatten()  # (n, 9)

        heat_around = heat.flatten(1).gather(1, around)
        top = heat_around[:, 4:5]  # of the best place itself, in the middle
        weights = heat_around.softmax(-1).unsqueeze(1)  # (n, 1, 9)
        known = torch.cat(
            (
                state.places.take_along_dim(around.unsqueeze(-1), 1),  # (n, 9, 6 + channels)
                centres[torch.stack((around % size, around // size), -1)],  # (n, 9, 2)
                state.score.flatten(1).gather(1, around).unsqueeze(-1),
                taken.flatten(1).gather(1, around).unsqueeze(-1),
            ),
            -1,
        )
        known = (weights @ known).squeeze(1)  # of the place that is attended to
        where, features, centre, amounts = known.split((6, known.shape[-1] - 10, 2, 2), -1)

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
        return look, state._replace(taken=taken)

    def taken_by(self, window: ObjectLatents, centres: Tensor) -> Tensor:
        """Return how much of each place a window takes, (n, G, G): 1 at its centre.

        Args:
            window: the object of a step.
            centres: (G,), coordinates of places.
        """
        z_where = window.z_where.detach()
        scale = away_from_zero(z_where[:, :1])
        offset = centres + (z_where[:, 1:] / scale).unsqueeze(-1)  # (n, 2, G)
        widths = offset * (scale / (2 * self.inhibition_width)).unsqueeze(-1)  # in its deviations
        across, down = (-0.5 * widths.square()).exp().unbind(1)
        return (window.z_pres * down).unsqueeze(-1) * across.unsqueeze(1)
