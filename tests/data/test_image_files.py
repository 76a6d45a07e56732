"""What a file becomes, and what lies where in it."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from air.data.image_files import placed, read_image

SIDES = st.integers(1, 90)


def pixels(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def saved(folder, image, name="x.png", **options):
    path = folder / name
    image.save(path, **options)
    return path


@pytest.mark.parametrize("shape", [(7, 5), (7, 5, 3)], ids=["grey", "colour"])
def test_a_png_is_read_as_it_is(tmp_path, shape):
    x = pixels(*shape)
    image = read_image(saved(tmp_path, Image.fromarray(x)))
    expected = torch.from_numpy(x)
    assert torch.equal(image, expected[None] if x.ndim == 2 else expected.movedim(-1, 0))


def test_a_jpeg_is_read_nearly_as_it_is(tmp_path):
    smooth = np.linspace(0, 255, 24 * 16).reshape(24, 16).astype(np.uint8)
    for mode, channels in (("L", 1), ("RGB", 3), ("CMYK", 3)):
        path = saved(tmp_path, Image.fromarray(smooth).convert(mode), "x.jpg", quality=95)
        image = read_image(path)
        assert image.shape == (channels, 24, 16)
        assert (image.float() - torch.from_numpy(smooth)).abs().max() < 12


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_a_file_is_turned_upright(tmp_path, ending):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    x = np.zeros((16, 24), np.uint8)
    x[:, :12] = 255  # what was on the left is above
    image = read_image(saved(tmp_path, Image.fromarray(x), f"x.{ending}", exif=exif))
    assert image.shape == (1, 24, 16)
    assert image[0, :11].min() > 240
    assert image[0, 13:].max() < 15


def with_alpha(mode):
    image = Image.new(mode, (2, 1), (200, 255) if mode == "LA" else (200, 200, 200, 255))
    image.putpixel((0, 0), (200, 0) if mode == "LA" else (200, 200, 200, 0))
    return image


def with_palette():
    image = Image.new("P", (2, 1), 1)
    image.putpalette([10, 10, 10, 200, 200, 200])
    image.putpixel((0, 0), 0)
    return image


@pytest.mark.parametrize(
    ("image", "options"),
    [
        (with_alpha("LA"), {}),
        (with_alpha("RGBA"), {}),
        (with_palette(), {"transparency": 0}),
        (Image.fromarray(np.array([[10, 200]], np.uint8)), {"transparency": 10}),
    ],
    ids=["grey", "colour", "palette", "one grey"],
)
def test_what_is_transparent_is_black(tmp_path, image, options):
    found = read_image(saved(tmp_path, image, **options))
    assert (found == torch.tensor([0, 200])).all()


def test_palettes_and_other_depths_are_read(tmp_path):
    assert (read_image(saved(tmp_path, with_palette())) == torch.tensor([10, 200])).all()
    bits = Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1")
    assert read_image(saved(tmp_path, bits)).tolist() == [[[0, 255]]]
    x = pixels(3, 4)
    deep = Image.fromarray(x.astype(np.uint16) * 257)
    assert np.array_equal(read_image(saved(tmp_path, deep))[0], x)


def numbered(height, width):
    """Return an image whose pixels tell where they are."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack((rows, columns, 200 + 0 * rows)).to(torch.uint8)


@given(height=SIDES, width=SIDES, size=st.integers(1, 64), fit=st.sampled_from(["pad", "crop"]))
def test_a_square_shows_the_image_in_its_middle(height, width, size, fit):
    placement = placed(height, width, size, fit)
    square = placement.square(numbered(height, width))
    assert square.shape == (3, size, size)
    target, source = placement.target, placement.source
    for side, of_source, of_target in (
        (height, (source.top, source.height), (target.top, target.height)),
        (width, (source.left, source.width), (target.left, target.width)),
    ):
        for (start, length), whole in ((of_source, side), (of_target, size)):
            assert 0 <= start <= start + length <= whole
            assert abs(start - (whole - start - length)) <= 1  # in the middle
    if fit == "pad":
        assert (source.width, source.height) == (width, height)
        assert max(target.width, target.height) == size
    else:
        assert (target.width, target.height) == (size, size)
        assert source.width == source.height == min(width, height)


@given(height=SIDES, width=SIDES)
def test_an_image_of_the_right_size_keeps_its_pixels(height, width):
    image = numbered(height, width)
    padded = placed(height, width, max(height, width), "pad")
    assert torch.equal(padded.target.of(padded.square(image)), image)
    cut = placed(height, width, min(height, width), "crop")
    assert torch.equal(cut.square(image), cut.source.of(image))


@given(height=st.integers(1, 40), width=st.integers(1, 40), size=st.integers(1, 60))
def test_around_an_image_is_the_colour_of_its_edge(height, width, size):
    image = torch.full((3, height, width), 90, dtype=torch.uint8)
    image[2] = 7
    image[:, height // 3 + 1 : -1, width // 3 + 1 : -1] = 255  # an object
    placement = placed(height, width, size, "pad")
    square, ground = placement.square(image), image[:, :1, :1]
    placement.target.of(square).copy_(ground)
    assert (square == ground).all()


@given(height=SIDES, width=SIDES, size=st.integers(1, 64))
def test_a_plain_image_stays_plain(height, width, size):
    colour = torch.tensor([90, 0, 255], dtype=torch.uint8)[:, None, None]
    square = placed(height, width, size, "pad").square(colour.expand(3, height, width))
    assert (square == colour).all()


@given(
    height=st.integers(20, 90),
    width=st.integers(20, 90),
    size=st.integers(20, 64),
    fit=st.sampled_from(["pad", "crop"]),
    data=st.data(),
)
def test_a_box_in_the_square_is_where_the_object_is_in_the_file(height, width, size, fit, data):
    placement = placed(height, width, size, fit)
    source, target = placement.source, placement.target
    x0 = data.draw(st.integers(source.left, source.left + source.width - 8))
    y0 = data.draw(st.integers(source.top, source.top + source.height - 8))
    image = torch.zeros(1, height, width, dtype=torch.uint8)
    image[:, y0 : y0 + 8, x0 : x0 + 8] = 255
    seen = torch.zeros(size, size)
    placement.target.of(seen).copy_(placement.target.of(placement.square(image)[0]))
    rows, columns = (seen >= 128).nonzero(as_tuple=True)
    if len(rows) == 0:  # the object is thinner than half a pixel of the square
        assert 8 * max(target.width / source.width, target.height / source.height) < 4
        return
    box = torch.stack((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)).double()
    pixel = max(source.width / target.width, source.height / target.height)
    error = (placement.boxes_in_file(box) - torch.tensor([x0, y0, x0 + 8, y0 + 8])).abs().max()
    assert error <= pixel + 1e-6


def test_corners_of_the_square_are_those_of_the_part_that_it_shows():
    boxes = torch.tensor([[0.0, 0.0, 50.0, 50.0]])
    # 100 x 50 pixels in 50 x 25, with 12 above and 13 below
    assert placed(50, 100, 50, "pad").boxes_in_file(boxes).tolist() == [[0, -24, 100, 76]]
    assert placed(50, 100, 50, "crop").boxes_in_file(boxes).tolist() == [[25, 0, 75, 50]]
