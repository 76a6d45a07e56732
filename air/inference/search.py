"""A search for better explanations of images, which tells the guide how many objects they have."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Normal
from torch.nn import functional as F

from air.inference.estimator import CountBounds, Estimate
from air.model.air import AIR
from air.model.canvas import ObjectLatents
from air.model.full_path import full_path
from air.model.generative import GenerativeModel
from air.model.guide import Guide
from air.model.sites import Z_WHAT, Z_WHERE, at_step
from air.model.windows import pixel_centres

_NUM_ANGLES = 8  # directions of cuts, over half a turn
_LEAST_SHARE = 0.25  # of an image's brightness on either side of a cut
_CUT_SPREAD = 0.3  # brightness on a cut, in pixels, that makes it e times less likely
_INK = 0.3  # an object's pixels are brighter than this share of the brightest


class Explanations(NamedTuple):
    """Some objects for each image, drawn from a distribution over them."""

    z_where: Tensor  # (n, objects, 3)
    z_what: Tensor  # (n, objects, z_what_size)
    kl: Tensor  # (n,) of that distribution against the prior, in nats


class CountSearch:
    """A term of the objective: -log q(n* | image), n* the count that explains the image best.

    The ELBO teaches a guide along the path it takes. Where its first window holds parts of two
    objects, a second object explains nothing, and so the ELBO itself says that there is one. Other
    paths tell: cut the image in two, look for one object in each part, and see whether the two
    explain the whole better; or put one window over everything. Each gives a lower bound on
    log p(image, n), like the guide's own path, and of several bounds the highest is the tightest.
    This is a wake phase of the guide (Bornschein & Bengio, 2015) in which the proposals are not
    its own. No labels enter, and no gradient reaches the model.

    It is for images of up to two objects: of three it finds no explanation but the guide's own, and
    so teaches a guide that does not find three yet that there are two.

    Args:
        weight: of an image's -log q(n*) against its -ELBO.
        num_cuts: pairs of objects tried for each image.
        num_windows: single objects tried for each image.
        margin: nats by which n* must beat every other count, or nothing is taught.
    """

    def __init__(self, weight: float, num_cuts: int, num_windows: int, margin: float) -> None:
        self.name = "search"
        self.weight = weight
        self.num_cuts = num_cuts
        self.num_windows = num_windows
        self.margin = margin

    def __call__(self, air: AIR, images: Tensor, estimate: Estimate) -> Tensor:
        """Return the mean of -log q(n*), in nats, 0 where no count stands out; see `Term`.

        Args:
            air: with at least two steps.
            images: (N, x_size, x_size), in [0, 1].
            estimate: with what is known of each count.

        Raises:
            ValueError: the estimator bounds no counts.
        """
        bounds = estimate.counts
        if bounds is None:
            raise ValueError("a search needs an estimator that bounds every count: MarginalELBO")
        with torch.no_grad():
            best = self.best_bounds(air, images, bounds)
            first, second = best.topk(2, 0).values  # (N,) each
            stands_out = first - second > self.margin
            count = best.argmax(0, keepdim=True)  # (1, N)
        return -(bounds.log_q.gather(0, count).squeeze(0) * stands_out).mean()

    def best_bounds(self, air: AIR, images: Tensor, bounds: CountBounds) -> Tensor:
        """Return the highest bound found on log p(image, n) for each count n, (T + 1, N)."""
        model, guide = air.model, air.guide
        pairs = pairs_of_parts(model, guide, images, self.num_cuts)
        pair_bounds = log_likelihood(model, images, pairs) + bounds.log_prior[2] - pairs.kl
        singles = whole_windows(model, guide, images, bounds.where_sd, self.num_windows)
        single_bounds = log_likelihood(model, images, singles) + bounds.log_prior[1] - singles.kl
        none, one, two, *more = bounds.elbo
        one = torch.maximum(one, single_bounds.unflatten(0, (len(images), -1)).amax(-1))
        two = torch.maximum(two, pair_bounds.unflatten(0, (len(images), -1)).amax(-1))
        return torch.stack([none, one, two, *more])


def log_likelihood(model: GenerativeModel, images: Tensor, explanations: Explanations) -> Tensor:
    """Return log p(image | objects), in nats, (n,).

    Args:
        model: what renders objects.
        images: (N, x_size, x_size), in [0, 1].
        explanations: n / N in a row for each image.
    """
    z_where, z_what, _ = explanations
    objects = ObjectLatents(z_where.new_ones(z_where.shape[:-1]), z_where, z_what)
    each = len(z_where) // len(images)
    return model.likelihood(model.paint(objects)).log_prob(
        images.repeat_interleave(each, 0).flatten(1)
    )


def pairs_of_parts(
    model: GenerativeModel, guide: Guide, images: Tensor, num_cuts: int
) -> Explanations:
    """Explain each image by two objects: what the guide finds first in either part of a cut.

    Args:
        model: whose prior says what objects cost.
        guide: is shown the parts.
        images: (N, x_size, x_size), in [0, 1].
        num_cuts: for each image; n = N num_cuts.
    """
    parts = cut(images, num_cuts)  # (N, num_cuts, 2, x_size, x_size)
    path = full_path(guide, parts.flatten(0, 2), num_steps=1)
    q_where, q_what = (path.q[at_step(latent, 0)] for latent in (Z_WHERE, Z_WHAT))
    kl = model.kl(
        Normal(q_where.mean, q_where.stddev), Normal(q_what.mean, q_what.stddev)
    )  # (N num_cuts 2,)
    return Explanations(
        path.z_where.squeeze(1).unflatten(0, (-1, 2)),
        path.z_what.squeeze(1).unflatten(0, (-1, 2)),
        kl.unflatten(0, (-1, 2)).sum(-1),
    )


def whole_windows(
    model: GenerativeModel, guide: Guide, images: Tensor, where_sd: Tensor, num_windows: int
) -> Explanations:
    """Explain each image by one object whose window is centred on all that there is to see.

    Args:
        model: whose prior says what objects cost.
        guide: describes what the window shows.
        images: (N, x_size, x_size), in [0, 1].
        where_sd: (N, 3), standard deviation of z_where around the best window.
        num_windows: for each image; n = N num_windows.
    """
    mean, sd = model.z_where_prior.mean, model.z_where_prior.sd
    centre, extent = _middle_and_extent(images)  # (N, 2), (N,)
    # Far from the prior's scale no window is worth its price.
    scale = (2 / extent.clamp(min=1e-3)).clamp(mean[0] - 3 * sd[0], mean[0] + sd[0])
    q_where = Normal(
        torch.cat((scale.unsqueeze(-1), -scale.unsqueeze(-1) * centre), -1).repeat_interleave(
            num_windows, 0
        ),
        where_sd.repeat_interleave(num_windows, 0),
    )
    z_where = q_where.sample()  # (n, 3)
    q_what = guide.describe(images.repeat_interleave(num_windows, 0), z_where)
    z_what = q_what.sample()  # (n, z_what_size)
    kl = model.kl(q_where, q_what)
    return Explanations(z_where.unsqueeze(-2), z_what.unsqueeze(-2), kl)


def cut(images: Tensor, num_cuts: int) -> Tensor:
    """Cut images in two along straight lines that cross little of what there is to see.

    Lines are drawn among those in `_NUM_ANGLES` directions, a pixel apart, that leave a fair share
    of the brightness on both sides; the less of it on a line, the likelier.

    Args:
        images: (N, x_size, x_size), in [0, 1].
        num_cuts: different ones for each image.

    Returns:
        (N, num_cuts, 2, x_size, x_size): the two parts of each, which add up to the image.
    """
    size = images.shape[-1]
    line, num_lines = _lines_of_pixels(images)  # (angles, x_size²)
    index = line + num_lines * torch.arange(_NUM_ANGLES, device=line.device).unsqueeze(-1)
    profile = images.new_zeros(len(images), _NUM_ANGLES * num_lines)
    profile = profile.index_add(1, index.flatten(), images.flatten(1).repeat(1, _NUM_ANGLES))
    profile = profile.unflatten(-1, (_NUM_ANGLES, num_lines))  # brightness on each line
    below = profile.cumsum(-1)
    share = below / below[..., -1:].clamp(min=1e-6)
    crossed = F.avg_pool1d(profile, 3, 1, 1)  # of neighbouring lines, as pixels are square
    unfair = (share < _LEAST_SHARE) | (share > 1 - _LEAST_SHARE)
    # The largest of log weights plus Gumbel noise are a draw without replacement.
    noise = -torch.rand_like(crossed).clamp(min=1e-20).log().neg().log()
    weights = (-crossed / _CUT_SPREAD).masked_fill(unfair, -1e9) + noise
    chosen = weights.flatten(1).topk(num_cuts).indices  # (N, num_cuts)
    beyond = line[chosen // num_lines] > (chosen % num_lines).unsqueeze(-1)  # (…, x_size²)
    sides = torch.stack((~beyond, beyond), 2).unflatten(-1, (size, size))
    return images[:, None, None] * sides


def _lines_of_pixels(images: Tensor) -> tuple[Tensor, int]:
    """Return for each angle the number of the line on which a pixel is, and how many there are."""
    size = images.shape[-1]
    across = torch.arange(size, dtype=images.dtype, device=images.device) - (size - 1) / 2
    angle = torch.arange(_NUM_ANGLES, dtype=images.dtype, device=images.device) * (
        math.pi / _NUM_ANGLES
    )
    along = angle.cos()[:, None, None] * across + angle.sin()[:, None, None] * across.unsqueeze(-1)
    reach = math.ceil(size / math.sqrt(2))
    return (along + reach).round().long().flatten(1), 2 * reach + 1


def _middle_and_extent(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the middle (N, 2) and the longer side (N,) of the box around an image's objects."""
    size = images.shape[-1]
    ink = images > _INK * images.amax((-1, -2), keepdim=True)
    centres = pixel_centres(size, images)
    seen = torch.stack((ink.any(-2), ink.any(-1)), -2)  # (N, 2, x_size): columns, rows
    low = torch.where(seen, centres, 1.0).amin(-1)
    high = torch.where(seen, centres, -1.0).amax(-1)
    return (low + high) / 2, (high - low).amax(-1) + 4 / size  # half a pixel more on each side
