"""z_where: its prior, where a window lies in an image, and the spatial transforms between them.

Coordinates run from -1 to 1 across pixel edges (`align_corners=False`), sampling is bilinear and
zero outside. `z_where` = [s, x, y] places a window so that it covers `x_size / s` pixels and is
centred at `-(x, y) / s`.

There is scale and translation only, so bilinear sampling separates: each axis is one small matrix
of hat-function weights, and a transform is two matrix products.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import Function, once_differentiable

from air.model.functions import followed
from air.model.sizes import check_sd

# The inverse transform divides by s. A window with |s| below this covers over 100 images and shows
# next to nothing, so s is held at this distance from 0 there (with its sign; +, if it is 0): the
# result stays finite, and no gradient reaches s from inside.
MIN_SCALE = 0.01


class WherePrior(nn.Module):
    """The moments of p(z_where), which model and guide share; derived from arguments, not learned.

    They are said for images of one size. In those of another, a window covers as many pixels, and
    centres are spread over the whole of it: s, x and y grow with the image, and their moments too.

    Args:
        x_size: width and height of the images that the next four are for, in pixels.
        scale_mean: mean of s; a window covers `x_size / s` pixels.
        scale_sd: standard deviation of s.
        pos_mean: mean of x and y.
        pos_sd: standard deviation of x and y.

    Attributes:
        x_size: as given.
        mean: (3,), for images of that size.
        sd: (3,), likewise.

    Raises:
        ValueError: a standard deviation is not positive and finite.
    """

    mean: Tensor
    sd: Tensor

    def __init__(
        self, x_size: int, scale_mean: float, scale_sd: float, pos_mean: float, pos_sd: float
    ) -> None:
        super().__init__()
        for name, sd in (("scale_prior_sd", scale_sd), ("pos_prior_sd", pos_sd)):
            check_sd(name, sd)
        self.x_size = x_size
        self.register_buffer("mean", torch.tensor([scale_mean, pos_mean, pos_mean]), False)
        self.register_buffer("sd", torch.tensor([scale_sd, pos_sd, pos_sd]), False)

    def moments(self, x_size: int | None = None) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation, (3,) each.

        Args:
            x_size: width and height of the images, in pixels, if not `self.x_size`.
        """
        if x_size is None or x_size == self.x_size:
            return self.mean, self.sd
        ratio = x_size / self.x_size
        return ratio * self.mean, ratio * self.sd


def window_to_image(z_where: Tensor, windows: Tensor, x_size: int) -> Tensor:
    """Place each window in an otherwise black image (paper, section 3, figure 3).

    Args:
        z_where: (..., 3), [s, x, y].
        windows: (..., window_size, window_size).
        x_size: width and height of the image, in pixels.

    Returns:
        (..., x_size, x_size) images, sampled from the window at `s * u + (x, y)`.
    """
    scale, position = z_where[..., :1, None], z_where[..., 1:, None]  # (..., 1, 1), (..., 2, 1)
    coordinates = scale * pixel_centres(x_size, z_where) + position  # (..., 2, x_size)
    columns, rows = _bilinear_weights(coordinates, windows.shape[-1]).unbind(-3)
    return rows @ windows @ columns.mT


def image_to_window(z_where: Tensor, images: Tensor, window_size: int) -> Tensor:
    """Crop each image at its window: the inverse of `window_to_image`.

    Args:
        z_where: (..., 3), [s, x, y]; |s| below `MIN_SCALE` counts as `MIN_SCALE`.
        images: (..., x_size, x_size).
        window_size: width and height of the window, in pixels.

    Returns:
        (..., window_size, window_size) windows, sampled from the image at `(v - (x, y)) / s`.
    """
    scale, position = z_where[..., :1, None], z_where[..., 1:, None]  # (..., 1, 1), (..., 2, 1)
    coordinates = (pixel_centres(window_size, z_where) - position) / away_from_zero(scale)
    columns, rows = _bilinear_weights(coordinates, images.shape[-1]).unbind(-3)
    return rows @ images @ columns.mT


def window_boxes(z_where: Tensor, x_size: int) -> Tensor:
    """Return the edges of each window in the image.

    Args:
        z_where: (..., 3), [s, x, y].
        x_size: width and height of the image, in pixels.

    Returns:
        (..., 4), x0 y0 x1 y1 in pixels from the top left corner; may reach beyond the image.
    """
    scale = away_from_zero(z_where[..., :1])
    centre = (1 - z_where[..., 1:] / scale) * x_size / 2  # (..., 2)
    half = x_size / (2 * scale.abs())
    return torch.cat((centre - half, centre + half), -1)


def away_from_zero(scale: Tensor) -> Tensor:
    """Return `scale` with its magnitude held at `MIN_SCALE` or more."""
    nearest = torch.where(scale < 0, -MIN_SCALE, MIN_SCALE).to(scale.dtype)
    return torch.where(scale.abs() < MIN_SCALE, nearest, scale)


def pixel_centres(size: int, like: Tensor) -> Tensor:
    """Return the coordinates of the centres of `size` pixels in a row, of the type of `like`."""
    return (2 * torch.arange(size, dtype=like.dtype, device=like.device) + 1) / size - 1


def _bilinear_weights(coordinates: Tensor, size: int) -> Tensor:
    """Return what each of `size` pixels adds at each coordinate: (..., P) -> (..., P, size)."""
    positions = ((coordinates + 1) * size - 1) / 2  # in pixels, 0 at the first pixel's centre
    return followed(_HatWeights, positions, size)


class _HatWeights(Function):
    """max(0, 1 - |position - pixel|), with a gradient that knows where the two slopes are.

    At most two of the `size` weights of a position are not 0, so its gradient gathers two numbers,
    where autograd would walk over all of them once for each operation.
    """

    @staticmethod
    def forward(positions: Tensor, size: int) -> Tensor:
        """Return the weights: (..., P) -> (..., P, size)."""
        pixels = torch.arange(size, dtype=positions.dtype, device=positions.device)
        return (positions.unsqueeze(-1) - pixels).abs_().neg_().add_(1).relu_()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, int], output: Tensor) -> None:
        """Keep the positions."""
        ctx.save_for_backward(inputs[0])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """Return the gradient of positions: the pixel to the right gains what the left loses."""
        (positions,) = ctx.saved_tensors
        size = grad.shape[-1]
        left = positions.clamp(-2, size).floor().long().unsqueeze(-1)  # (..., P, 1)
        pair = torch.cat((left, left + 1), -1)
        inside = (pair >= 0) & (pair < size)
        grad_left, grad_right = (
            grad.gather(-1, pair.clamp(0, size - 1)).mul(inside).unbind(-1)
        )  # each (..., P)
        return grad_right - grad_left, None
