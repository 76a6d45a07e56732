"""Windows drawn into a picture, for what has no overlays of its own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from air.pictures.colours import step_colour
from air.tracking.values import Picture

SCALE = 4  # screen pixels to a pixel of the image: a line, half as wide, then hides little


def with_windows(picture: Picture, scale: int = SCALE) -> NDArray[np.uint8]:
    """Draw the windows of a picture into it.

    Args:
        picture: (H, W) grey or (H, W, 3) RGB.
        scale: how much larger the result is.

    Returns:
        (H * scale, W * scale, 3) RGB, each window's edges in the colour of its step.
    """
    image = Image.fromarray(picture.image).convert("RGB")
    size = (image.width * scale, image.height * scale)
    image = image.resize(size, Image.Resampling.NEAREST)  # pixels stay what they are
    draw = ImageDraw.Draw(image)
    for box in picture.boxes:
        edges = [round(edge * scale) for edge in (box.x0, box.y0, box.x1, box.y1)]
        x0, y0, x1, y1 = edges
        # The edges are those of pixels, and the last pixel inside is the one before.
        last = (max(x0, x1 - 1), max(y0, y1 - 1))
        draw.rectangle((x0, y0, *last), outline=step_colour(box.step), width=max(1, scale // 2))
    return np.asarray(image)
