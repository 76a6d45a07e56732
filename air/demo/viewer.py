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
from air.demo.requests import RenderRequest
from air.errors import AIRError
from air.model.air import AIR
from air.model.canvas import ObjectLatents
from air.model.images import to_unit
from air.model.windows import image_to_window, window_boxes


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

    def infer(self, pixels: list[list[int]], num_steps: int | None = None) -> dict[str, Any]:
        """Find, count and describe the objects of an image.

        Args:
            pixels: x_size rows of x_size grey values, 0…255.
            num_steps: the most objects to look for; the model's own number by default.

        Returns:
            `count`; `count_probs` of 0…T objects; `reconstruction` (rows of pixels); and for each
            of the T steps, whether it is `present`, the `probability` that it is, `z_where`,
            `z_what`, the `box` in pixels, the `glimpse` and its `decoding` (rows of pixels).

        Raises:
            RequestError: the image has another size than the model's.
        """
        size = self.air.x_size
        if len(pixels) != size or any(len(row) != size for row in pixels):
            raise RequestError(f"pixels: must be {size} rows of {size} values")
        images = torch.tensor([pixels], dtype=torch.uint8)
        with self._exclusively():
            posterior = self.air.infer_scenes(images, num_steps)
            z_where = posterior.z_where[0]  # (T, 3)
            glimpses = image_to_window(
                z_where, to_unit(images, "cpu", z_where.dtype), self.air.window_size
            )  # (T, window_size, window_size)
            decodings = self.air.model.windows(posterior.z_what[0])  # (T, window_size, window_size)
        # P(count > t) for each step t
        present = posterior.count_probs[0].flip(0).cumsum(0).flip(0)[1:].clamp(max=1)
        return {
            "count": int(posterior.count[0]),
            "count_probs": posterior.count_probs[0].tolist(),
            "reconstruction": grey(posterior.reconstruction[0]),
            "steps": [
                {
                    "present": t < int(posterior.count[0]),
                    "probability": present[t].item(),
                    "z_where": posterior.z_where[0, t].tolist(),
                    "z_what": posterior.z_what[0, t].tolist(),
                    "box": posterior.boxes[0, t].tolist(),
                    "glimpse": grey(glimpses[t]),
                    "decoding": grey(decodings[t]),
                }
                for t in range(len(present))
            ],
        }

    def render(self, request: RenderRequest) -> dict[str, Any]:
        """Decode objects, place them and add up those that are present.

        Args:
            request: T objects.

        Returns:
            `reconstruction` (rows of pixels), and for each step its `box` in pixels and its
            `decoding` (rows of pixels).

        Raises:
            RequestError: a code has another length than the model's.
        """
        if any(len(step.z_what) != self.air.z_what_size for step in request.steps):
            raise RequestError(f"z_what: must have {self.air.z_what_size} values")
        z_pres = torch.tensor([[float(step.present) for step in request.steps]])  # (1, T)
        z_where = torch.tensor([[step.z_where for step in request.steps]])  # (1, T, 3)
        z_what = torch.tensor([[step.z_what for step in request.steps]])  # (1, T, z_what_size)
        with self._exclusively():
            canvas = self.air.model.render(ObjectLatents(z_pres, z_where, z_what))[0]
            decodings = self.air.model.windows(z_what[0])
        boxes = window_boxes(z_where[0], self.air.x_size)
        return {
            "reconstruction": grey(canvas),
            "steps": [
                {"box": box, "decoding": grey(decoding)}
                for box, decoding in zip(boxes.tolist(), decodings, strict=True)
            ],
        }

    @contextmanager
    def _exclusively(self) -> Iterator[None]:
        # Pyro's handlers and parameters are the process's, so requests take turns; one thread each,
        # because for a single image more of them only wait for one another.
        one_thread = computing_with(1)
        with self._lock, one_thread, torch.no_grad(), pyro.validation_enabled(False):
            yield


def grey(image: Tensor) -> list[list[int]]:
    """Return rows of grey values, 0…255; objects that add up beyond white are white."""
    rows: list[list[int]] = (image.clamp(0, 1) * 255).round().to(torch.uint8).tolist()
    return rows
