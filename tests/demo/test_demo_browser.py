"""The demonstration's page in a browser, as a visitor uses it; no other machine is asked."""

import io
import os
import shutil
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
import uvicorn
from PIL import Image
from playwright.sync_api import expect, sync_playwright

from air.cli.compose import compose_config
from air.config.parsing import parse_as
from air.demo.config import DemoConfig
from air.demo.server import build_app
from air.demo.serving import listening
from air.model.config import OverConfig, VAEConfig
from air.runs.trained import open_run
from tests.helpers.demo_server import served
from tests.helpers.models import tiny
from tests.helpers.options import values_of

CHROMIUM = shutil.which("chromium")
MISSING = "chromium is not installed (Debian: apt install chromium)"

pytestmark = pytest.mark.skipif(CHROMIUM is None and not os.environ.get("CI"), reason=MISSING)


@pytest.fixture(scope="module")
def browser():
    assert CHROMIUM is not None, MISSING  # in CI, which must have looked at the page
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser):
    """Open a page, hold it to this machine, and let it raise no error."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    elsewhere, errors = [], []

    def only_here(route):
        if route.request.url.startswith("http://127.0.0.1:"):
            route.continue_()
        else:
            elsewhere.append(route.request.url)
            route.abort()

    context.route("**/*", only_here)

    def opened(url):
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(url)
        ready(page)
        return page

    yield opened
    context.close()
    assert not elsewhere
    assert not errors


@pytest.fixture(scope="module")
def url(smoke_run):
    with served(f"run={smoke_run}") as (url, _):
        yield url


@pytest.fixture
def own(smoke_run, tmp_path):
    """The page of a model of colour images with backgrounds, 6 x 6 pixels, and these images."""
    images = np.random.default_rng(0).integers(0, 256, (12, 6, 6, 3), dtype=np.uint8)
    np.savez(tmp_path / "mine.npz", x=images)
    paths = [f"data.{name}={tmp_path / 'mine.npz'}" for name in ("path", "test_path")]
    run = replace(
        open_run(smoke_run),
        config=compose_config(("experiment=images", *paths)),
        air=tiny(
            num_channels=3, background=VAEConfig("vae", 2, [8], [8]), compositing=OverConfig("over")
        ),
    )
    config = parse_as(DemoConfig, {**values_of("demo"), "run": str(smoke_run), "port": 0})
    server = uvicorn.Server(uvicorn.Config(build_app(run, config), log_level="warning"))
    with listening(config) as connection:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [connection]})
        thread.start()
        yield f"http://127.0.0.1:{connection.getsockname()[1]}", torch.from_numpy(images), run.air
        server.should_exit = True
        thread.join()


def ready(page):
    expect(page.locator("body")).to_have_attribute("data-state", "ready", timeout=30_000)


def clear(page):
    page.click("#clear")
    ready(page)


def draw(page, *points):
    """Draw a stroke through points, given as shares of the scene's width and height."""
    page.check("#tool-draw", force=True)  # its label covers it
    edges = page.locator("#scene").bounding_box()
    at = [(edges["x"] + x * edges["width"], edges["y"] + y * edges["height"]) for x, y in points]
    page.mouse.move(*at[0])
    page.mouse.down()
    for point in at[1:]:
        page.mouse.move(*point, steps=5)
    page.mouse.up()
    ready(page)


def drop(page, digit, x, y):
    """Drag a digit to a place, given as shares of the scene's width and height."""
    edges = page.locator("#scene").bounding_box()
    target = {"x": x * edges["width"], "y": y * edges["height"]}
    page.locator(f"#digit-{digit}").drag_to(page.locator("#scene"), target_position=target)
    ready(page)


def pixels(page, element):
    """Return the grey values of a canvas."""
    return colours(page, element)[..., 0]


def colours(page, element):
    """Return the colours of a canvas."""
    image = page.evaluate(
        """(id) => {
            const canvas = document.getElementById(id);
            const { width, height } = canvas;
            const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
            return { width, height, data: Array.from(data) };
        }""",
        element,
    )
    return np.array(image["data"]).reshape(image["height"], image["width"], 4)[..., :3]


def test_a_scene_is_composed_of_strokes_and_digits(visit, url):
    page = visit(url)
    clear(page)
    assert not pixels(page, "scene").any()
    draw(page, (0.1, 0.1), (0.1, 0.3))
    scene = pixels(page, "scene")
    assert scene.shape == (50, 50)
    assert scene[6:14, 5].min() > 127
    assert not scene[:, 10:].any()
    drop(page, 8, 0.7, 0.7)
    rows, columns = np.nonzero(pixels(page, "scene")[:, 10:])
    assert (rows.mean(), columns.mean() + 10) == pytest.approx((35, 35), abs=2)


def test_a_digit_is_dragged_scaled_and_removed(visit, url):
    page = visit(url)
    clear(page)
    page.click("#digit-3")  # in the middle of an empty scene
    ready(page)
    first = pixels(page, "scene")
    edges = page.locator("#scene").bounding_box()
    middle = edges["x"] + edges["width"] / 2, edges["y"] + edges["height"] / 2
    moved_by = 10 * edges["width"] / 50
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] + moved_by, middle[1], steps=4)
    page.mouse.up()
    ready(page)
    moved = pixels(page, "scene")
    np.testing.assert_allclose(moved[:, 10:], first[:, :-10], atol=2)
    page.keyboard.press("ArrowLeft")
    ready(page)
    np.testing.assert_allclose(pixels(page, "scene")[:, 9:], first[:, :-9], atol=2)
    page.locator("#item-size").fill("40")
    ready(page)
    assert np.count_nonzero(pixels(page, "scene")) > 2 * np.count_nonzero(first)
    page.locator("#scene").press("Delete")
    ready(page)
    assert not pixels(page, "scene").any()


def test_what_the_model_says_is_shown_and_follows_the_scene(visit, url):
    page = visit(url)
    clear(page)
    bars = page.locator("#bars .bar")
    expect(bars).to_have_count(4)
    before = bars.all_inner_texts(), pixels(page, "glimpse-0")
    drop(page, 1, 0.3, 0.3)
    drop(page, 4, 0.7, 0.7)
    probabilities = [
        float(text.split("\n")[-1].removesuffix(" %")) for text in bars.all_inner_texts()
    ]
    assert sum(probabilities) == pytest.approx(100, abs=0.3)
    assert page.locator("#count").inner_text() == str(np.argmax(probabilities))
    assert bars.all_inner_texts() != before[0]
    assert pixels(page, "glimpse-0").shape == pixels(page, "decoding-0").shape == (16, 16)
    assert (pixels(page, "glimpse-0") != before[1]).any()
    assert pixels(page, "reconstruction").shape == (50, 50)
    page.fill("#num-steps", "5")
    page.press("#num-steps", "Enter")
    expect(page.locator("#steps .step")).to_have_count(5)
    expect(bars).to_have_count(6)


def test_sliders_render_the_objects_again(visit, url):
    page = visit(url)
    page.click("#step-1")
    expect(page.locator("#edited-step")).to_have_text("2")
    page.uncheck("#present")
    ready(page)
    without, decoding = pixels(page, "reconstruction"), pixels(page, "decoding-1")
    page.locator("#where-0").fill("2")
    ready(page)
    expect(page.locator("#present")).to_be_checked()
    large = pixels(page, "reconstruction")
    assert (large != without).any()
    assert (pixels(page, "decoding-1") == decoding).all()
    page.locator("#what-0").fill("2.5")
    ready(page)
    assert (pixels(page, "decoding-1") != decoding).any()
    page.click("#reset")
    ready(page)
    assert (pixels(page, "decoding-1") == decoding).all()


def test_an_image_is_loaded_and_a_bad_one_is_refused_with_a_reason(visit, url):
    page = visit(url)
    image = np.zeros((50, 50), np.uint8)
    image[10:20, 30:40] = 255
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    good = {"name": "mine.png", "mimeType": "image/png", "buffer": file.getvalue()}
    message = page.locator("#message")
    for content, reason in ((b"hello", "not an image"), (b"", "empty")):
        page.set_input_files(
            "#upload", {"name": "notes.txt", "mimeType": "text/plain", "buffer": content}
        )
        expect(message).to_contain_text(f"notes.txt: the file is {reason}")
    page.set_input_files(
        "#upload", {"name": "huge.png", "mimeType": "image/png", "buffer": bytes(10_000_001)}
    )
    expect(message).to_have_text("huge.png: too large: at most 10 MB can be loaded")
    page.set_input_files("#upload", good)
    expect(message).to_be_hidden()
    ready(page)
    np.testing.assert_array_equal(pixels(page, "scene"), image)
    page.click("#invert")
    ready(page)
    np.testing.assert_array_equal(pixels(page, "scene"), 255 - image)


def test_a_model_of_colour_and_backgrounds_is_shown_in_all_its_parts(visit, own):
    url, images, air = own
    page = visit(url)
    np.testing.assert_array_equal(colours(page, "scene"), images[0])
    page.click("#image-3")
    ready(page)
    np.testing.assert_array_equal(colours(page, "scene"), images[3])
    expected = air.infer(images[3:4])
    for view in ("background", "reconstruction"):
        page.check(f"input[value={view}]", force=True)  # its label covers it
        shown = getattr(expected, view)[0].clamp(0, 1) * 255
        np.testing.assert_allclose(colours(page, "reconstruction"), shown, atol=0.51)
    before = colours(page, "windows")
    page.check("#segmentation")
    assert (colours(page, "windows") != before).any() == bool(expected.segmentation.any())
    clear(page)
    ground = air.infer(images[:1]).background[0].clamp(0, 1) * 255
    np.testing.assert_allclose(colours(page, "scene"), ground, atol=0.51)
    page.check("#tool-draw", force=True)
    expect(page.locator("#invert")).to_be_hidden()
    page.fill("#colour", "#ff8000")
    page.locator("#brush").fill("3")
    draw(page, (0.25, 0.5), (0.75, 0.5))
    np.testing.assert_array_equal(colours(page, "scene")[3, 2:4], [[255, 128, 0]] * 2)


def test_the_page_fits_its_window(visit, url):
    page = visit(url)
    size = page.evaluate(
        "(({ scrollWidth, scrollHeight }) => [scrollWidth, scrollHeight])(document.documentElement)"
    )
    assert size[0] <= 1280
    assert size[1] <= 800
    page.set_viewport_size({"width": 360, "height": 640})  # a phone: one column, and no wider
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    for element in ("#scene", "#clear", "#reset", "#step-0"):
        edges = page.locator(element).bounding_box()
        assert edges["x"] >= 0
        assert edges["x"] + edges["width"] <= 360


@pytest.mark.slow
def test_two_digits_are_counted(visit, data_root, tmp_path):
    from air.cli.compose import compose_config
    from air.training.run import train

    run = tmp_path / "run"
    overrides = ("tracking=none", "train.num_iterations=600", f"data.root={data_root}")
    train(compose_config(overrides), run, [])
    with served(f"run={run}") as (url, _):
        page = visit(url)
        clear(page)
        expect(page.locator("#count")).to_have_text("0")
        drop(page, 7, 0.28, 0.28)
        expect(page.locator("#count")).to_have_text("1")
        drop(page, 4, 0.72, 0.7)
        expect(page.locator("#count")).to_have_text("2")
        clear(page)
        draw(page, (0.28, 0.15), (0.26, 0.45))
        draw(page, (0.6, 0.55), (0.8, 0.55), (0.68, 0.85))
        expect(page.locator("#count")).to_have_text("2")
