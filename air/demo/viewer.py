"""What the model makes of one image, as plain values that JSON can hold."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyro
import torch
from torch import Tensor

from air.acceleration.threads import computing_with
from air.demo.requests import Pixels, RenderRequest
from air.demo.uploads import Mode
from air.errors import AIRError
from air.model.air import AIR
from air.model.background.none import NoBackground
from air.model.canvas import ObjectLatents
from air.model.images import pictures, planes, to_unit
from air.model.posterior import presence_probs
from air.model.windows import window_boxes
from air.pictures.segmentation import on_ground, without_background
from air.pictures.steps import decodings, glimpses


class RequestError(AIRError):
    """What the page sent does not fit the model."""


class Viewer:
    """Finds objects in images and renders objects, for one request at a time.

    Args:
        air: a trained model, on the CPU.
    """

    def __init__(self, air: AIR) -> None:
        self.air = air
        self._lock = threading.Lock()

    @property
    def has_background(self) -> bool:
        """Whether something other than black lies behind the objects."""
        return not isinstance(self.air.model.canvas.background, NoBackground)

    def infer(self, pixels: Pixels, num_steps: int | None = None) -> dict[str, Any]:
        """Find, count and describe the objects of an image.

        Args:
            pixels: x_size rows of x_size pixels, each a list of the model's channels, 0…255.
            num_steps: the most objects to look for; the model's own number by default.

        Returns:
            `count`; `count_probs` of 0…T objects; `reconstruction`, `background` and, with nothing
            behind them, `objects` (rows of pixels; the last two None for black); `segmentation`
            (rows of numbers, t + 1 where the t-th object is seen); and for each of the T steps,
            whether it is `present`, the `probability` that it is, `z_where`, `z_what`, the `box` in
            pixels, the `glimpse` and its `decoding` (rows of pixels).

        Raises:
            RequestError: the image has another shape than the model's.
        """
        images = self._image("pixels", pixels)
        with self._exclusively():
            posterior = self.air.infer_scenes(images, num_steps)
            crops = glimpses(self.air, images, posterior)[0]  # (T, window_size, window_size[, 3])
            decoded = decodings(self.air, posterior)[0]
            objects = without_background(self.air, posterior)
        present = presence_probs(posterior.count_probs[0])  # (T,)
        return {
            "count": int(posterior.count[0]),
            "count_probs": posterior.count_probs[0].tolist(),
            "reconstruction": rows(posterior.reconstruction[0]),
            "background": rows_if_any(posterior.background),
            "objects": rows_if_any(objects),
            "segmentation": posterior.segmentation[0].tolist(),
            "steps": [
                {
                    "present": t < int(posterior.count[0]),
                    "probability": present[t].item(),
                    "z_where": posterior.z_where[0, t].tolist(),
                    "z_what": posterior.z_what[0, t].tolist(),
                    "box": posterior.boxes[0, t].tolist(),
                    "glimpse": rows(crops[t]),
                    "decoding": rows(decoded[t]),
                }
                for t in range(len(present))
            ],
        }

    def render(self, request: RenderRequest) -> dict[str, Any]:
        """Decode objects, place them and compose those that are present over the background.

        Args:
            request: T objects, and the background as inferred.

        Returns:
            `reconstruction`, `objects` and `segmentation` as of `infer`, and for each step its
            `box` in pixels and its `decoding` (rows of pixels).

        Raises:
            RequestError: a code has another length than the model's, or the background another
                shape.
        """
        if any(len(step.z_what) != self.air.z_what_size for step in request.steps):
            raise RequestError(f"z_what: must have {self.air.z_what_size} values")
        if (request.background is not None) != self.has_background:
            given = "as it was inferred" if self.has_background else "null, for black"
            raise RequestError(f"background: must be {given}")
        background = None
        if request.background is not None:
            background = planes(to_unit(self._image("background", request.background), "cpu"))
        # A model has no gaps between its objects: a visitor's come last.
        order = sorted(range(len(request.steps)), key=lambda t: not request.steps[t].present)
        steps = [request.steps[t] for t in order]
        objects = ObjectLatents(
            torch.tensor([[float(step.present) for step in steps]]),  # (1, T)
            torch.tensor([[step.z_where for step in steps]]),  # (1, T, 3)
            torch.tensor([[step.z_what for step in steps]]),  # (1, T, z_what_size)
        )
        model = self.air.model
        with self._exclusively():
            canvas, segmentation = model.render_and_segment(objects, background)
            bare = on_ground(self.air, objects, background)
            decoded = model.windows(objects.z_what[0])
        boxes = window_boxes(objects.z_where[0], self.air.x_size).tolist()
        numbers = torch.tensor([0, *(t + 1 for t in order)])
        drawn = sorted(zip(order, boxes, decoded, strict=True), key=lambda step: step[0])
        return {
            "reconstruction": rows(canvas[0]),
            "objects": rows_if_any(bare),
            "segmentation": numbers[segmentation[0].long()].tolist(),
            "steps": [{"box": box, "decoding": rows(decoding)} for _, box, decoding in drawn],
        }

    @property
    def mode(self) -> Mode:
        """What the model knows: light that adds up on black, as in the paper, or any images."""
        if self.air.num_channels > 1:
            return "RGB"
        on_black = not self.has_background and self.air.model.canvas.compositing.ground == 0
        return "ink" if on_black else "L"

    def ground(self, images: Tensor | None) -> list[list[list[int]]] | None:
        """Return what lies behind the objects of an image, None for black.

        Args:
            images: of which the first is taken; where there are none, a grey one.
        """
        if not self.has_background:
            return None
        shape = (1, self.air.num_channels, self.air.x_size, self.air.x_size)
        image = pictures(torch.full(shape, 0.5)) if images is None else images[:1]
        with self._exclusively():
            return rows_if_any(self.air.infer_scenes(image).background)

    def _image(self, name: str, pixels: Pixels) -> Tensor:
        """Return what a request has under a name, (1, x_size, x_size[, 3]) uint8."""
        size, channels = self.air.x_size, self.air.num_channels
        if [[len(pixel) for pixel in row] for row in pixels] != [[channels] * size] * size:
            values = "1 value" if channels == 1 else f"{channels} values"
            raise RequestError(f"{name}: must be {size} rows of {size} pixels of {values}")
        image = torch.tensor([pixels], dtype=torch.uint8)
        return image.squeeze(-1) if channels == 1 else image

    @contextmanager
    def _exclusively(self) -> Iterator[None]:
        # Pyro's handlers and parameters are the process's, so requests take turns; one thread each,
        # because for a single image more of them only wait for one another.
        one_thread = computing_with(1)
        with self._lock, one_thread, torch.no_grad(), pyro.validation_enabled(False):
            yield


def rows(image: Tensor) -> list[list[list[int]]]:
    """Return an image as rows of pixels, each a list of its channels, 0…255.

    Args:
        image: (S, S) or (S, S, channels), uint8 or floats; what exceeds 1 is white.
    """
    pixels = image
    if image.dtype != torch.uint8:
        pixels = (image.clamp(0, 1) * 255).round().to(torch.uint8)
    listed: list[list[list[int]]] = (pixels if pixels.ndim == 3 else pixels.unsqueeze(-1)).tolist()
    return listed


def rows_if_any(images: Tensor | None) -> list[list[list[int]]] | None:
    """Return the `rows` of the first of some images, None for none."""
    return None if images is None else rows(images[0])
