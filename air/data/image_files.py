"""A PNG or JPEG file as a tensor, the square that is made of it, and the way back."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.transforms.v2.functional import pil_to_tensor, resize

from air.data.config import Fit

ENDINGS = (".png", ".jpg", ".jpeg")


def read_image(path: Path) -> Tensor:
    """Decode a file, upright; what is transparent lies on black, and 16 bits are rounded to 8.

    Pillow decodes: torchvision's own decoders are deprecated, and misread palettes and 1-bit files.

    Args:
        path: of a PNG or JPEG file.

    Returns:
        (1, height, width) or, of a file in colours, (3, height, width); uint8.

    Raises:
        Exception: it cannot be read; the decoders raise many kinds.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # photos may be large
        with Image.open(path, formats=("PNG", "JPEG")) as file:
            image = ImageOps.exif_transpose(file)
    if image.mode.startswith("I"):  # of 16 bits, which `convert` would cut off at 255
        values = np.asarray(image, dtype=np.int64)
        return torch.from_numpy((values + 128) // 257).to(torch.uint8).unsqueeze(0)
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "black"), image)
    return pil_to_tensor(image.convert("L" if image.mode in ("1", "L") else "RGB"))


@dataclass(frozen=True)
class Region:
    """A part of an image: its top left corner, width and height, in whole pixels."""

    left: int
    top: int
    width: int
    height: int

    def of(self, image: Tensor) -> Tensor:
        """Return the part of an image (..., height, width), a view."""
        rows = slice(self.top, self.top + self.height)
        return image[..., rows, self.left : self.left + self.width]


@dataclass(frozen=True)
class Placement:
    """Which part of a file's image lies where in its square.

    Attributes:
        size: width and height of the square, in pixels.
        source: the part of the image.
        target: the part of the square.
    """

    size: int
    source: Region
    target: Region

    def square(self, image: Tensor) -> Tensor:
        """Return the square of an image, with the median colour of its edge around it.

        Args:
            image: (channels, height, width) uint8.

        Returns:
            (channels, size, size) uint8; the pixels of the image themselves where they fit.
        """
        part, shape = self.source.of(image), (self.target.height, self.target.width)
        edge = (part[:, 0], part[:, -1], part[:, :, 0], part[:, :, -1])  # (channels, pixels) each
        square = torch.cat(edge, 1).median(1).values[:, None, None].repeat(1, self.size, self.size)
        if part.shape[-2:] != shape:
            # In floats: PyTorch's own way for bytes is wrong where one pixel is left of a row.
            part = resize(part.float(), list(shape), antialias=True).round().to(torch.uint8)
        self.target.of(square).copy_(part)
        return square

    def boxes_in_file(self, boxes: Tensor) -> Tensor:
        """Return boxes in the pixels of the file's image.

        Args:
            boxes: (..., 4), x0 y0 x1 y1 in pixels of the square.
        """
        target = boxes.new_tensor([self.target.left, self.target.top]).repeat(2)
        source = boxes.new_tensor([self.source.left, self.source.top]).repeat(2)
        factor = boxes.new_tensor(
            [self.source.width / self.target.width, self.source.height / self.target.height]
        ).repeat(2)
        return (boxes - target) * factor + source


def placed(height: int, width: int, size: int, fit: Fit) -> Placement:
    """Return how an image is made a square.

    Args:
        height: of the image, in pixels.
        width: likewise.
        size: of the square.
        fit: `pad`: the whole image in the middle; `crop`: the largest square in its middle.
    """
    if fit == "crop":
        side = min(height, width)
        source = Region((width - side) // 2, (height - side) // 2, side, side)
        return Placement(size, source, Region(0, 0, size, size))
    columns, rows = (max(1, round(size * side / max(height, width))) for side in (width, height))
    target = Region((size - columns) // 2, (size - rows) // 2, columns, rows)
    return Placement(size, Region(0, 0, width, height), target)
