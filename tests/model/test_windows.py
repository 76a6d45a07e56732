"""The spatial transforms against torch's own, their inverse and their boxes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from air.model.windows import MIN_SCALE, image_to_window, window_boxes, window_to_image

WINDOW, IMAGE = 8, 20


def affine(scale, x, y):
    """[s, x, y] -> the matrices [[s, 0, x], [0, s, y]] that `affine_grid` takes."""
    zeros = torch.zeros_like(scale)
    return torch.stack((scale, zeros, x, zeros, scale, y), -1).view(-1, 2, 3)


def sampled(source, theta, size):
    grid = F.affine_grid(theta, (len(source), 1, size, size), align_corners=False)
    return F.grid_sample(source.unsqueeze(1), grid, align_corners=False).squeeze(1)


def random_z_where(n):
    scale = torch.rand(n, dtype=torch.float64) * 4 + 0.5
    return torch.stack((scale, *torch.randn(2, n, dtype=torch.float64)), -1)


def test_window_to_image_equals_grid_sample_in_value_and_gradient():
    z_where = random_z_where(32).requires_grad_()
    windows = torch.rand(32, WINDOW, WINDOW, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(32, IMAGE, IMAGE, dtype=torch.float64)
    ours = window_to_image(z_where, windows, IMAGE)
    theirs = sampled(windows, affine(*z_where.unbind(-1)), IMAGE)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-13)
    for a, b in zip(
        torch.autograd.grad((ours * weight).sum(), (z_where, windows)),
        torch.autograd.grad((theirs * weight).sum(), (z_where, windows)),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_image_to_window_equals_grid_sample_in_value_and_gradient():
    z_where = random_z_where(32).requires_grad_()
    images = torch.rand(32, IMAGE, IMAGE, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(32, WINDOW, WINDOW, dtype=torch.float64)
    scale, x, y = z_where.unbind(-1)
    ours = image_to_window(z_where, images, WINDOW)
    theirs = sampled(images, affine(1 / scale, -x / scale, -y / scale), WINDOW)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-13)
    for a, b in zip(
        torch.autograd.grad((ours * weight).sum(), (z_where, images)),
        torch.autograd.grad((theirs * weight).sum(), (z_where, images)),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_whole_pixel_transforms_invert_each_other():
    # A window of WINDOW pixels at s = IMAGE / WINDOW, shifted by whole pixels, is a plain crop.
    scale = IMAGE / WINDOW
    window = torch.rand(1, WINDOW, WINDOW)
    column, row = 3, 7
    centre = torch.tensor([column + WINDOW / 2, row + WINDOW / 2]) / IMAGE * 2 - 1
    z_where = torch.tensor([[scale, *(-scale * centre)]])
    image = window_to_image(z_where, window, IMAGE)
    torch.testing.assert_close(image[0, row : row + WINDOW, column : column + WINDOW], window[0])
    assert image.sum().item() == pytest.approx(window.sum().item(), rel=1e-5)
    torch.testing.assert_close(image_to_window(z_where, image, WINDOW), window)
    torch.testing.assert_close(
        window_boxes(z_where, IMAGE),
        torch.tensor([[column, row, column + WINDOW, row + WINDOW]]).float(),
    )


@settings(max_examples=50, deadline=None)
@given(scale=st.floats(1.5, 5), x=st.floats(-1.5, 1.5), y=st.floats(-1.5, 1.5), sign=st.booleans())
def test_everything_drawn_lies_in_the_box(scale, x, y, sign):
    z_where = torch.tensor([[scale if sign else -scale, x, y]], dtype=torch.float64)
    image = window_to_image(z_where, torch.ones(1, WINDOW, WINDOW, dtype=torch.float64), IMAGE)[0]
    x0, y0, x1, y1 = window_boxes(z_where, IMAGE)[0].tolist()
    rows, columns = image.nonzero(as_tuple=True)
    # Bilinear sampling reaches half a window pixel beyond the window's edge.
    margin = 0.5 * IMAGE / scale / WINDOW + 0.5
    assert ((columns + 0.5 >= x0 - margin) & (columns + 0.5 <= x1 + margin)).all()
    assert ((rows + 0.5 >= y0 - margin) & (rows + 0.5 <= y1 + margin)).all()
    assert x1 - x0 == pytest.approx(IMAGE / scale)


@pytest.mark.parametrize("scale", [0.0, 1e-9, -1e-9])
def test_scale_near_zero_stays_finite(scale):
    z_where = torch.tensor([[scale, 0.3, -0.2]], requires_grad=True)
    window = image_to_window(z_where, torch.rand(1, IMAGE, IMAGE), WINDOW)
    image = window_to_image(z_where, torch.rand(1, WINDOW, WINDOW), IMAGE)
    (window.sum() + image.sum()).backward()
    assert window.isfinite().all()
    assert image.isfinite().all()
    assert z_where.grad.isfinite().all()
    held = torch.tensor([[MIN_SCALE if scale >= 0 else -MIN_SCALE, 0.3, -0.2]])
    assert torch.equal(window_boxes(z_where, IMAGE), window_boxes(held, IMAGE))
