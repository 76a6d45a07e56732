"""Objects that cover one another, against a painter who puts one layer over the other."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from air.errors import ConfigError
from air.model.canvas import ObjectLatents
from air.model.compositing.over import Over
from air.model.config import ImageConfig, OverConfig
from tests.helpers.models import tiny

SIZE = 4


def painted(z_pres, windows, background):
    """The last object first, each over what is there, for one choice of objects."""
    canvas = torch.zeros_like(windows[:, 0, :-1]) if background is None else background
    for t in reversed(range(windows.shape[1])):
        mask = z_pres[:, t, None, None, None] * windows[:, t, -1:]
        canvas = mask * windows[:, t, :-1] + (1 - mask) * canvas
    return canvas


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("num_steps", [1, 2, 5])
def test_equals_a_painter_in_value_and_gradient_for_every_count(num_steps, channels, behind):
    over = Over(channels)
    windows = torch.rand(3, num_steps, channels + 1, SIZE, SIZE, dtype=torch.float64)
    background = torch.rand(3, channels, SIZE, SIZE, dtype=torch.float64) if behind else None
    given = [windows.requires_grad_(), *([background.requires_grad_()] if behind else [])]
    images = torch.rand(3, channels, SIZE, SIZE, dtype=torch.float64).flatten(1)
    counts = torch.arange(num_steps + 1).view(-1, 1, 1)
    z_pres = (counts > torch.arange(num_steps)).double().expand(-1, 3, -1)
    canvas = over(z_pres, over.to_place(windows), background)
    expected = torch.stack([painted(each, windows, background).flatten(1) for each in z_pres])
    torch.testing.assert_close(canvas.pixels, expected)
    ours, theirs = canvas.squared_distance(images), (images - expected).square().sum(-1)
    torch.testing.assert_close(ours, theirs)
    weights = torch.rand_like(ours)
    for one, other in zip(
        *(torch.autograd.grad((weights * each).sum(), given) for each in (ours, theirs)),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


@given(count=st.integers(0, 3))
def test_shares_are_what_is_seen_of_each(count):
    over, masks = Over(1), torch.rand(2, 3, 1, SIZE, SIZE)
    z_pres = (torch.arange(3) < count).float().expand(2, -1)
    shares = over.shares(z_pres, torch.cat((masks, masks), 2))
    torch.testing.assert_close(shares.sum(1), torch.ones(2, SIZE, SIZE))
    assert not shares[:, 1 + count :].any()
    # What is painted white on black is as bright as its share.
    for t in range(count):
        white = torch.cat(((torch.arange(3) == t).float()[:, None, None, None] * masks, masks), 2)
        seen = over(z_pres, white, None).pixels.view(2, SIZE, SIZE)
        torch.testing.assert_close(seen, shares[:, 1 + t])


def test_an_object_is_hidden_by_what_lies_in_front_of_it():
    masks = torch.zeros(1, 3, 1, SIZE, SIZE)
    masks[:, 0, :, :, :2] = 1.0  # the left half
    masks[:, 1, :, :2] = 1.0  # the upper half
    masks[:, 2, :, 3, 3] = 1.0  # a corner
    hidden = Over(1).hidden(torch.ones(1, 3), torch.cat((masks, masks), 2))
    expected = torch.zeros(1, 3, 3)
    expected[0, 1, 0] = 0.5
    torch.testing.assert_close(hidden, expected)
    nothing = Over(1).hidden(torch.tensor([[1.0, 0.0, 0.0]]), torch.cat((masks, masks), 2))
    assert not nothing.any()


def test_the_first_object_is_in_front_and_the_segmentation_says_so():
    air = tiny(compositing=OverConfig("over"), x_size=9, window_size=3, scale_prior_mean=3.0)
    with torch.no_grad():
        air.decode.mlp.layers[-1].weight.zero_()
        air.decode.mlp.layers[-1].bias.fill_(30.0)  # opaque, whatever the code
    z_where = torch.tensor([[[3.0, 1.0, 1.0], [3.0, 0.0, 0.0]]])  # the second one in the middle
    objects = ObjectLatents(torch.ones(1, 2), z_where, torch.zeros(1, 2, 2))
    parts = air.model.render_and_segment(objects)[1][0]
    assert parts.dtype == torch.uint8
    assert parts[4, 4] == 2
    assert parts[2, 2] == 1
    assert parts[8, 8] == 0
    both = ObjectLatents(torch.ones(1, 2), torch.zeros(1, 2, 3) + z_where[:, :1], objects.z_what)
    assert set(air.model.render_and_segment(both)[1].unique().tolist()) == {0, 1}


def test_of_an_image_a_pixel_shows_what_explains_it_best():
    """A mask of 0.4 all over its window: only the image tells which pixels are the object's."""
    air = tiny(
        compositing=OverConfig("over"),
        x_size=9,
        window_size=3,
        scale_prior_mean=3.0,
        decoder_output_bias=None,
    )
    with torch.no_grad():
        air.decode.mlp.layers[-1].weight.zero_()
        air.decode.mlp.layers[-1].bias[:9] = 30.0  # white
        air.decode.mlp.layers[-1].bias[9:] = math.log(0.4 / 0.6)
    objects = ObjectLatents(
        torch.tensor([[1.0, 0.0]]), torch.tensor([[[3.0, 0.0, 0.0]] * 2]), torch.zeros(1, 2, 2)
    )
    image = torch.zeros(1, 1, 9, 9)
    image[..., 3:5, 3:6] = 0.9  # most of the window
    image[..., 0, 0] = 0.9  # where no window is
    _, blind = air.model.render_and_segment(objects)
    assert not blind.any()
    _, parts = air.model.render_and_segment(objects, images=image)
    expected = torch.zeros(9, 9, dtype=torch.uint8)
    expected[3:5, 3:6] = 1
    assert torch.equal(parts[0], expected)
    # By Bayes' rule a pixel of brightness v is the object's where it is brighter than the
    # brightness at which both are as probable.
    sd = air.model.likelihood.sd
    even = 0.5 - sd**2 * math.log(0.4 / 0.6)
    for brightness, shown in ((even - 0.01, 0), (even + 0.01, 1)):
        _, parts = air.model.render_and_segment(
            objects, images=torch.full((1, 1, 9, 9), brightness)
        )
        assert parts[0, 4, 4] == shown


def test_objects_start_nearly_transparent_and_neither_dark_nor_light():
    air = tiny(compositing=OverConfig("over"), decoder_output_bias=-3.0, num_channels=3)
    with torch.no_grad():
        layers = air.decode(torch.zeros(1, 2)).view(4, 4, 4)
    assert (layers[:3] - 0.5).abs().max() < 0.3
    assert layers[3].max() < 0.15


def test_masks_need_the_sigmoid():
    with pytest.raises(ConfigError, match="decoder_output_use_sigmoid: must be true"):
        tiny(compositing=OverConfig("over"), decoder_output_use_sigmoid=False)


def test_a_dark_object_covers_a_light_background():
    air = tiny(compositing=OverConfig("over"), background=ImageConfig("image", plain=True))
    air.start_at(torch.ones(2, 1, 6, 6), torch.full((2, 1, 6, 6), 0.9))
    with torch.no_grad():
        air.decode.mlp.layers[-1].weight.zero_()
        air.decode.mlp.layers[-1].bias[:16] = -30.0
        air.decode.mlp.layers[-1].bias[16:] = 30.0
    objects = ObjectLatents(
        torch.ones(1, 2), torch.tensor([[[1.5, 0.0, 0.0]] * 2]), torch.ones(1, 2, 2)
    )
    behind = air.model.canvas.background.draw(1, 6)
    image = air.model.render(objects, behind)[0]
    assert image[3, 3] < 1e-6
    torch.testing.assert_close(image[0, 0], torch.tensor(0.9))
