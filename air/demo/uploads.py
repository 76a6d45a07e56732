"""A visitor's image file, made into a square of the scene's size."""

from __future__ import annotations

import io
import warnings
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from air.errors import AIRError

Mode = Literal["ink", "L", "RGB"]  # light on black, grey, in colour

MEGA = 1_000_000
_BRIGHT = 128  # grey value; an image whose edge is brighter is taken for dark ink on white paper


class UploadError(AIRError):
    """A file cannot be used; the message is for the visitor."""


def read_upload(
    content: bytes, x_size: int, max_megapixels: float, mode: Mode
) -> NDArray[np.uint8]:
    """Decode an image file, and fit the whole image into the middle of the square.

    Args:
        content: of a file in any format that Pillow knows.
        x_size: width and height of the square, in pixels.
        max_megapixels: the largest image that is decoded.
        mode: what the model knows.

    Returns:
        Of ink (x_size, x_size, 1): what is transparent and around the image is black, and an image
        with a bright edge is inverted. Else (x_size, x_size, 4), red, green, blue and opacity: the
        image as it is, in grey or in colour, and nothing around it.

    Raises:
        UploadError: there is nothing in it, it is no image, or a too large one.
    """
    if not content:
        raise UploadError("the file is empty; choose an image, such as a PNG or JPEG file")
    try:
        image = _decoded(content, max_megapixels)
    except UploadError:
        raise
    except UnidentifiedImageError:
        raise UploadError("the file is not an image; choose a PNG or JPEG file, say") from None
    except Image.DecompressionBombError:
        raise UploadError(
            f"the image is too large; at most {max_megapixels:g} million pixels can be loaded"
        ) from None
    except Exception as error:  # Pillow's decoders raise many kinds
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UploadError(f"the image is damaged and cannot be read ({reason})") from None
    return _ink(image, x_size) if mode == "ink" else _picture(image, x_size, mode)


def _decoded(content: bytes, max_megapixels: float) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit is ours
        image = Image.open(io.BytesIO(content))
    width, height = image.size  # from the header: nothing is decoded yet
    if width * height > max_megapixels * MEGA:
        raise UploadError(
            f"the image is too large: {width} x {height} pixels; "
            f"at most {max_megapixels:g} million pixels can be loaded"
        )
    if image.mode == "F":
        raise UploadError("an image of floating-point numbers cannot be loaded; save it as a PNG")
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I"):  # of 16 bits, which `convert` would cut off at 255
        upright = Image.fromarray((np.asarray(upright) / 257).clip(0, 255).astype(np.uint8))
    return upright.convert("RGBA")


def _ink(image: Image.Image, x_size: int) -> NDArray[np.uint8]:
    on_black = Image.alpha_composite(Image.new("RGBA", image.size, "black"), image).convert("L")
    if _edge_brightness(on_black) >= _BRIGHT:
        on_black = ImageOps.invert(on_black)
    fitted = ImageOps.pad(on_black, (x_size, x_size), Image.Resampling.LANCZOS, color=0)
    return np.asarray(fitted)[..., None]


def _picture(image: Image.Image, x_size: int, mode: Mode) -> NDArray[np.uint8]:
    shown = image.convert("LA").convert("RGBA") if mode == "L" else image
    clear = (0, 0, 0, 0)
    return np.asarray(ImageOps.pad(shown, (x_size, x_size), Image.Resampling.LANCZOS, color=clear))


def _edge_brightness(image: Image.Image) -> float:
    pixels = np.asarray(image)
    edge = np.concatenate((pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]))
    return float(np.median(edge))
