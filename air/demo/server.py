"""The page, its files and the JSON interface behind it."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from torch import Tensor

from air.config.parsing import parse_as
from air.data.config import (
    CUTOUT_SIZE,
    CutoutConfig,
    MultiMNISTConfig,
    MultiMNISTFullConfig,
)
from air.data.cutouts import Cutouts
from air.data.digits import bundled_digits
from air.data.loading import load_data
from air.demo.config import DemoConfig
from air.demo.requests import InferRequest, RenderRequest
from air.demo.uploads import MEGA, UploadError, read_upload
from air.demo.viewer import RequestError, Viewer, rows
from air.errors import AIRError
from air.pictures.colours import STEP_COLOURS
from air.runs.trained import TrainedRun

log = logging.getLogger(__name__)

STATIC = Path(__file__).parent / "static"
_LARGEST_REQUEST = 64 * MEGA  # bytes of JSON: a scene of 2000 x 2000 pixels in colour
_NUM_IMAGES = 10  # held-out ones, at a time
_MOST_IMAGES = 1000
_INK_SHARE = 20 / 28  # of the width of an MNIST digit; the rest is its black edge


class TooLargeError(UploadError):
    """A request has a longer body than is taken."""


def build_app(run: TrainedRun, config: DemoConfig) -> Starlette:
    """Return the application.

    Args:
        run: the run to show.
        config: limits of uploads and sliders.
    """
    viewer = Viewer(run.air)
    _, digits = bundled_digits()  # the test digits, of which no training scene is made
    needs_no_images = of_digits(run) and not viewer.has_background
    images = None if needs_no_images else held_out_images(run)
    description = described(run, config) | {
        "strip": "digits" if of_digits(run) or images is None else "images",
        "mode": viewer.mode,
        "ground": viewer.ground(images),
    }

    async def model(request: Request) -> Response:
        return JSONResponse(description)

    async def held_out_digits(request: Request) -> Response:
        return JSONResponse(one_of_each(digits, int(request.path_params["page"])))

    async def some_images(request: Request) -> Response:
        page = int(request.path_params["page"])
        return JSONResponse([] if images is None else a_few(images, page))

    async def infer(request: Request) -> Response:
        asked = parse_as(InferRequest, await _values(request))
        return JSONResponse(await run_in_threadpool(viewer.infer, asked.pixels, asked.num_steps))

    async def render(request: Request) -> Response:
        asked = parse_as(RenderRequest, await _values(request))
        return JSONResponse(await run_in_threadpool(viewer.render, asked))

    async def upload(request: Request) -> Response:
        limits = config.uploads
        content = await _body(request, int(limits.max_megabytes * MEGA))
        pixels = await run_in_threadpool(
            read_upload, content, run.air.x_size, limits.max_megapixels, viewer.mode
        )
        return JSONResponse({"pixels": pixels.tolist()})

    return Starlette(
        routes=[
            Route("/api/model", model),
            Route("/api/digits/{page:int}", held_out_digits),
            Route("/api/images/{page:int}", some_images),
            Route("/api/infer", _answered(infer), methods=["POST"]),
            Route("/api/render", _answered(render), methods=["POST"]),
            Route("/api/upload", _answered(upload), methods=["POST"]),
            Mount("/", StaticFiles(directory=STATIC, html=True)),
        ]
    )


def described(run: TrainedRun, config: DemoConfig) -> dict[str, Any]:
    """Return what the page must know of the run before it shows anything."""
    air = run.air
    return {
        "run": run.folder.resolve().name,
        "iteration": run.iteration,
        "x_size": air.x_size,
        "num_steps": air.num_steps,
        "z_what_size": air.z_what_size,
        "digit_size": digit_size(run),
        "colours": STEP_COLOURS,
        "max_upload_megabytes": config.uploads.max_megabytes,
        "sliders": {
            "scale": config.sliders.scale,
            "position": config.sliders.position,
            "what": config.sliders.what,
            "num_components": min(config.sliders.num_components, air.z_what_size),
        },
    }


def digit_size(run: TrainedRun) -> float:
    """Return the width of a dropped digit, in pixels: as in training, or one that fits a window."""
    data = run.config.data
    if isinstance(data, CutoutConfig):
        return CUTOUT_SIZE / data.scale_mean
    scale = run.air.model.z_where_prior.mean[0].item()
    return run.air.x_size / scale / _INK_SHARE


def one_of_each(digits: Cutouts, page: int) -> list[dict[str, Any]]:
    """Return a digit of each class: the page-th of its class, or from the first again."""
    chosen = []
    for label in range(10):
        of_label = (digits.labels == label).nonzero()[0]
        index = of_label[page % len(of_label)]
        chosen.append({"label": label, "pixels": digits.images[index][..., None].tolist()})
    return chosen


def of_digits(run: TrainedRun) -> bool:
    """Return whether the run's scenes are made of MNIST's digits."""
    return isinstance(run.config.data, MultiMNISTConfig | MultiMNISTFullConfig)


def held_out_images(run: TrainedRun) -> Tensor | None:
    """Return images of every count that the run has not trained on; None if they are gone."""
    try:
        return load_data(run.config.data).test.varied(_MOST_IMAGES).images
    except AIRError as reason:
        log.warning("the page has no held-out images: %s", reason)
        return None


def a_few(images: Tensor, page: int) -> list[list[list[list[int]]]]:
    """Return some of the images, as rows of pixels: the page-th few, or from the first again."""
    first = page * _NUM_IMAGES
    places = [(first + i) % len(images) for i in range(min(_NUM_IMAGES, len(images)))]
    return [rows(image) for image in images[places]]


def _answered(
    endpoint: Callable[[Request], Awaitable[Response]],
) -> Callable[[Request], Awaitable[Response]]:
    """Answer an error of the visitor's with one line, which the page shows."""

    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except AIRError as error:
            status = 413 if isinstance(error, TooLargeError) else 400
            return JSONResponse({"error": str(error)}, status)

    return answer


async def _values(request: Request) -> dict[str, Any]:
    try:
        values = json.loads(await _body(request, _LARGEST_REQUEST))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise RequestError(f"the request must be JSON ({error})") from None
    if not isinstance(values, dict):
        raise RequestError("the request must be a JSON object")
    return values


async def _body(request: Request, most: int) -> bytes:
    """Read a body, but no more of it than allowed."""
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > most:
            raise TooLargeError(f"too large: at most {most / MEGA:g} MB can be loaded")
    return bytes(content)
