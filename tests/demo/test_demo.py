"""The demonstration: its answers against the model's own, what it refuses, and the command."""

import io
import json
import re
import signal
import socket
from dataclasses import replace
from urllib.request import urlopen

import numpy as np
import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient

from air.cli.compose import compose_config
from air.config.parsing import parse_as
from air.data.digits import bundled_digits
from air.data.loading import load_data
from air.demo.config import DemoConfig
from air.demo.server import STATIC, build_app
from air.demo.uploads import UploadError, read_upload
from air.model.canvas import ObjectLatents
from air.model.config import ImageConfig, NoBackgroundConfig, OverConfig, SumConfig, VAEConfig
from air.model.windows import image_to_window
from air.runs.folder import read_config, write_config
from air.runs.trained import open_run
from tests.helpers.demo_server import served
from tests.helpers.in_process import run_script
from tests.helpers.models import tiny
from tests.helpers.options import values_of


@pytest.fixture(scope="module")
def run(smoke_run):
    return open_run(smoke_run)


@pytest.fixture(scope="module")
def config(smoke_run):
    uploads = {"max_megabytes": 0.1, "max_megapixels": 0.25}
    return parse_as(DemoConfig, {**values_of("demo"), "uploads": uploads, "run": str(smoke_run)})


@pytest.fixture(scope="module")
def client(run, config):
    return TestClient(build_app(run, config))


OVER, VAE = OverConfig("over"), VAEConfig("vae", 2, encoder_net=[8], decoder_net=[8])
OWN = [
    pytest.param({"num_channels": 3, "background": VAE, "compositing": OVER}, id="colour"),
    pytest.param({"background": ImageConfig("image", False), "compositing": OVER}, id="grey"),
    pytest.param({"background": VAE, "compositing": SumConfig("sum")}, id="sum"),
    pytest.param({"num_channels": 3, "background": NoBackgroundConfig("none")}, id="on black"),
]


@pytest.fixture(params=OWN)
def own(request, run, config, tmp_path):
    """A run on images of a user's, of 6 x 6 pixels, with its images and its page."""
    shape = (13, 6, 6, 3) if request.param.get("num_channels") == 3 else (13, 6, 6)
    images = torch.randint(256, shape, dtype=torch.uint8)
    np.savez(tmp_path / "mine.npz", x=images.numpy())
    paths = [f"data.{name}={tmp_path / 'mine.npz'}" for name in ("path", "test_path")]
    own_config = compose_config(("experiment=images", *paths))
    own_run = replace(run, config=own_config, air=tiny(**request.param))
    return own_run, images, TestClient(build_app(own_run, config))


@pytest.fixture
def image():
    return torch.randint(256, (50, 50), dtype=torch.uint8)


def saved(pixels, kind="PNG"):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def listed(image):
    """An image as rows of pixels, each a list of its channels."""
    return (image if image.ndim == 3 else image[..., None]).tolist()


def rows(image):
    return listed((image.clamp(0, 1) * 255).round())


@pytest.mark.parametrize("num_steps", [None, 5])
def test_a_scene_is_answered_with_what_the_model_infers(client, run, image, num_steps):
    asked = {"pixels": listed(image), "num_steps": num_steps}
    answer = client.post("/api/infer", json=asked).json()
    expected = run.air.infer(image[None], num_steps)
    assert answer["count"] == expected.count.item()
    assert answer["count_probs"] == pytest.approx(expected.count_probs[0].tolist(), abs=1e-6)
    assert answer["reconstruction"] == rows(expected.reconstruction[0])
    assert answer["segmentation"] == expected.segmentation[0].tolist()
    assert (answer["background"], answer["objects"]) == (None, None)
    assert len(answer["steps"]) == (num_steps or run.air.num_steps)
    glimpses = image_to_window(expected.z_where[0], image[None].float() / 255, 16)
    decodings = run.air.decode(expected.z_what[0]).unflatten(-1, (16, 16))
    for t, step in enumerate(answer["steps"]):
        assert step["present"] == (t < expected.count.item())
        assert step["probability"] == pytest.approx(sum(answer["count_probs"][t + 1 :]), abs=1e-5)
        for name, values in (
            ("z_where", expected.z_where),
            ("z_what", expected.z_what),
            ("box", expected.boxes),
        ):
            assert step[name] == pytest.approx(values[0, t].tolist(), abs=1e-5)
        assert step["glimpse"] == rows(glimpses[t])
        assert step["decoding"] == rows(decodings[t])


def latents(steps):
    return [{name: step[name] for name in ("present", "z_where", "z_what")} for step in steps]


def test_changed_latents_are_answered_with_what_the_model_renders(client, run, image):
    asked = {"pixels": listed(image), "num_steps": None}
    steps = latents(client.post("/api/infer", json=asked).json()["steps"])
    steps[1]["present"] = True
    steps[1]["z_where"] = [2.0, 0.4, -0.3]
    steps[1]["z_what"][0] += 1.5
    answer = client.post("/api/render", json={"steps": steps, "background": None}).json()
    z_pres, z_where, z_what = (
        torch.tensor([[step[name] for step in steps]]) for name in ("present", "z_where", "z_what")
    )
    assert answer["reconstruction"] == rows(
        run.air.model.render(ObjectLatents(z_pres.float(), z_where, z_what))[0]
    )
    # A window is 50 / s pixels wide, and its centre is at -(x, y) / s in an image from -1 to 1.
    assert answer["steps"][1]["box"] == pytest.approx([7.5, 16.25, 32.5, 41.25])
    decoding = run.air.decode(z_what[0, 1]).unflatten(-1, (16, 16))
    assert answer["steps"][1]["decoding"] == rows(decoding)


def test_objects_are_rendered_over_the_background_as_they_were_inferred(own):
    run, images, client = own
    found = client.post("/api/infer", json={"pixels": listed(images[0]), "num_steps": 3}).json()
    expected = run.air.infer(images[:1], 3)
    assert found["reconstruction"] == rows(expected.reconstruction[0])
    assert (found["background"] is None) == (expected.background is None)
    for step in found["steps"]:
        shape = (4, 4, run.air.num_channels)
        assert np.array(step["glimpse"]).shape == np.array(step["decoding"]).shape == shape
    again = {"steps": latents(found["steps"]), "background": found["background"]}
    drawn = client.post("/api/render", json=again).json()
    assert found["segmentation"] == expected.segmentation[0].tolist()
    assert drawn["objects"] == found["objects"]
    # The page has the background in bytes.
    np.testing.assert_allclose(drawn["reconstruction"], found["reconstruction"], atol=1)
    for step, before in zip(drawn["steps"], found["steps"], strict=True):
        assert step["decoding"] == before["decoding"]
        assert step["box"] == pytest.approx(before["box"], abs=1e-4)
    nothing = {**again, "steps": [{**step, "present": False} for step in again["steps"]]}
    empty = client.post("/api/render", json=nothing).json()
    assert not np.any(empty["segmentation"])
    black = np.zeros_like(found["reconstruction"])
    behind = black if found["background"] is None else found["background"]
    np.testing.assert_allclose(empty["reconstruction"], behind, atol=1)
    if found["objects"] is not None:
        ground = round(255 * run.air.model.canvas.compositing.ground)
        assert (np.array(empty["objects"]) == ground).all()


def test_an_object_that_is_not_drawn_covers_nothing(own):
    _, images, client = own
    found = client.post("/api/infer", json={"pixels": listed(images[0]), "num_steps": 2}).json()
    first, second = latents(found["steps"])
    first["z_where"] = second["z_where"] = [1.5, 0.0, 0.0]
    behind = {"background": found["background"]}
    steps = [{**first, "present": False}, {**second, "present": True}]
    gap = client.post("/api/render", json={"steps": steps, **behind}).json()
    alone = client.post("/api/render", json={"steps": steps[1:], **behind}).json()
    assert gap["reconstruction"] == alone["reconstruction"]
    assert gap["steps"][1] == alone["steps"][0]
    # It keeps its number, and so its colour.
    assert np.array_equal(gap["segmentation"], 2 * np.array(alone["segmentation"]))


def test_a_page_of_own_images_has_held_out_ones_and_a_ground_like_theirs(own):
    run, images, client = own
    described = client.get("/api/model").json()
    assert described["strip"] == "images"
    assert described["mode"] == ("RGB" if run.air.num_channels == 3 else "L")
    shown = [client.get(f"/api/images/{page}").json() for page in (0, 1)]
    assert shown[0] == [listed(image) for image in images[:10]]
    assert shown[1] == [listed(images[i]) for i in (10, 11, 12, 0, 1, 2, 3, 4, 5, 6)]
    background = run.air.infer(images[:1]).background
    assert described["ground"] == (None if background is None else rows(background[0]))


def test_images_that_are_gone_leave_the_digits(own, config, tmp_path, caplog):
    run, _, _ = own
    load_data.cache_clear()
    (tmp_path / "mine.npz").unlink()
    client = TestClient(build_app(run, config))
    described = client.get("/api/model").json()
    assert described["strip"] == "digits"
    assert np.shape(described["ground"] or np.zeros((6, 6))) in ((6, 6), (6, 6, 1), (6, 6, 3))
    assert client.get("/api/images/0").json() == []
    assert "no held-out images: data.path: " in caplog.text


def test_a_background_that_does_not_fit_the_model_is_refused(own):
    _, _, client = own
    steps = [{"present": True, "z_where": [3, 0, 0], "z_what": [0, 0]}]
    missing = [[[0]]] if client.get("/api/model").json()["ground"] is None else None
    for background in (missing, [[[0]]]):
        answer = client.post("/api/render", json={"steps": steps, "background": background})
        assert answer.status_code == 400
        assert answer.json()["error"].startswith("background: must be ")


BLACK = [[[0]] * 50] * 50
STEP = {"present": True, "z_where": [3, 0, 0], "z_what": [0] * 20}


@pytest.mark.parametrize(
    ("path", "content", "message"),
    [
        (
            "infer",
            {"pixels": BLACK[1:], "num_steps": 3},
            "pixels: must be 50 rows of 50 pixels of 1 value",
        ),
        ("infer", {"pixels": [*BLACK[1:], [[0]]], "num_steps": 3}, "pixels: must be 50 rows"),
        ("infer", {"pixels": [[[0] * 3] * 50] * 50, "num_steps": 3}, "pixels: must be 50 rows"),
        ("infer", {"pixels": [[[256]]], "num_steps": 3}, "pixels.0.0.0: must be less than or"),
        ("infer", {"pixels": BLACK, "num_steps": 0}, "num_steps: must be greater than or equal"),
        ("infer", {"pixels": BLACK, "num_steps": 1e9}, "num_steps: must be"),
        ("infer", {"pixels": BLACK}, "num_steps: is required"),
        ("infer", [], "must be a JSON object"),
        ("infer", b"\xff", "must be JSON"),
        ("render", {"steps": [], "background": None}, "steps: "),
        (
            "render",
            {"steps": [{**STEP, "z_what": [0]}], "background": None},
            "z_what: must have 20 values",
        ),
        ("render", {"steps": [STEP]}, "background: is required"),
        ("render", {"steps": [{**STEP, "z_where": [3, 0]}]}, "steps.0.z_where: "),
        ("render", {"steps": [{**STEP, "z_where": [3, 0, 1e40]}]}, "steps.0.z_where.2: must be"),
        ("render", b'{"steps": [{"present": true, "z_where": [3, 0, NaN]}]}', "z_where.2: must be"),
    ],
)
def test_a_request_that_does_not_fit_the_model_is_refused(client, path, content, message):
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    answer = client.post(f"/api/{path}", content=body)
    assert answer.status_code == 400
    assert message in answer.json()["error"]
    assert "\n" not in answer.json()["error"]


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        (b"", 400, "the file is empty"),
        (b"plain text", 400, "the file is not an image"),
        (saved(np.arange(2500, dtype=np.uint8).reshape(50, 50))[:80], 400, "damaged"),
        (saved(np.zeros((600, 500), np.uint8)), 400, "500 x 600 pixels; at most 0.25 million"),
        (bytes(100_001), 413, "too large: at most 0.1 MB"),
    ],
    ids=["empty", "text", "cut", "many pixels", "many bytes"],
)
def test_a_bad_upload_is_refused(client, content, status, message):
    answer = client.post("/api/upload", content=content)
    assert answer.status_code == status
    assert message in answer.json()["error"]


def test_a_decompression_bomb_is_not_decoded():
    bomb = Image.new("1", (20_000, 20_000))
    file = io.BytesIO()
    bomb.save(file, "PNG")
    with pytest.raises(UploadError, match="too large"):
        read_upload(file.getvalue(), 50, 50, "ink")


def test_an_uploaded_image_fits_the_square_in_grey(client):
    pixels = np.zeros((100, 200, 3), np.uint8)
    pixels[40:60, 80:120] = 255
    answer = np.array(client.post("/api/upload", content=saved(pixels)).json()["pixels"])
    assert answer.shape == (50, 50, 1)
    rows, columns, _ = np.nonzero(answer > 127)
    # A quarter of the size, 25 rows of 50 columns from row 12 on, with black above and below.
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (22, 26, 20, 29)
    assert (answer[:12] == 0).all()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "WEBP"])
def test_dark_ink_on_white_paper_is_inverted(kind):
    paper = np.full((60, 60), 250, np.uint8)
    paper[20:40, 20:40] = 5
    seen = read_upload(saved(paper, kind), 60, 1, "ink")
    np.testing.assert_allclose(seen[25:35, 25:35], 250, atol=3)
    np.testing.assert_allclose(seen[:10], 5, atol=3)


def test_what_is_transparent_is_black_and_16_bits_are_grey():
    clear = np.zeros((20, 20, 4), np.uint8)
    clear[..., :3] = 255
    clear[8:12, 8:12, 3] = 255
    seen = read_upload(saved(clear), 20, 1, "ink")
    assert (seen[8:12, 8:12] == 255).all()
    assert seen.sum() == 16 * 255
    deep = np.zeros((20, 20), np.uint16)
    deep[8:12, 8:12] = 40_000
    assert read_upload(saved(deep), 20, 1, "ink")[9, 9] == pytest.approx(40_000 / 257, abs=1)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_any_picture_stays_as_it_is_with_nothing_around_it(mode):
    pixels = np.full((10, 20, 4), 255, np.uint8)  # on white, which is not taken for paper
    pixels[:, :10] = (200, 100, 0, 255)
    pixels[:, 15:, 3] = 0
    seen = read_upload(saved(pixels), 20, 1, mode)
    assert seen.shape == (20, 20, 4)
    grey = round(0.299 * 200 + 0.587 * 100)
    left = (200, 100, 0) if mode == "RGB" else (grey, grey, grey)
    np.testing.assert_allclose(seen[6:14, 1:9], [[(*left, 255)] * 8] * 8, atol=1)
    assert (seen[6:14, 12:14] == 255).all()
    assert not seen[:5, :, 3].any()
    assert not seen[:, 16:, 3].any()


def test_the_digits_are_held_out_and_one_of_each(client):
    train, _ = bundled_digits()
    seen = {digit.tobytes() for digit in train.images}
    shown = [client.get(f"/api/digits/{page}").json() for page in (0, 1, 10_000)]
    for digits in shown:
        assert [digit["label"] for digit in digits] == list(range(10))
        assert not seen & {np.array(digit["pixels"], np.uint8).tobytes() for digit in digits}
    assert shown[0] != shown[1]


def test_dropped_digits_have_the_size_of_training(client, run):
    described = client.get("/api/model").json()
    assert described["digit_size"] == pytest.approx(28 / run.config.data.scale_mean)
    assert described["num_steps"] == run.air.num_steps


def test_the_page_needs_nothing_from_elsewhere(client):
    page = client.get("/")
    assert page.status_code == 200
    assert "default-src 'self'" in page.text
    files = list(STATIC.iterdir())
    assert {file.suffix for file in files} == {".html", ".css", ".js"}
    for file in files:
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"(https?:)?//[\w.-]+\.\w|@import|url\(", text), file
        for asset in re.findall(r'(?:src|href|from) ?=? ?"([^"]+)"', text):
            if asset != "data:,":
                assert client.get(f"/{asset}").status_code == 200, asset


def test_the_script_finds_its_elements():
    page = (STATIC / "index.html").read_text(encoding="utf-8")
    known = set(re.findall(r'\bid="([^"]+)"', page))
    for file in STATIC.glob("*.js"):
        assert set(re.findall(r'byId\("([^"]+)"\)', file.read_text(encoding="utf-8"))) <= known


# --- the command ----------------------------------------------------------------------------------


def test_the_command_serves_the_page_until_ctrl_c(smoke_run):
    before = sorted(path.name for path in smoke_run.iterdir())
    with served(f"run={smoke_run}") as (url, process):
        with urlopen(url) as page:
            assert "Attend, Infer, Repeat" in page.read().decode()
        with urlopen(f"{url}/api/model") as answer:
            assert json.load(answer)["x_size"] == 50
        process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=60)[0]
    assert process.returncode in (0, 130), output
    assert "Traceback" not in output
    assert sorted(path.name for path in smoke_run.iterdir()) == before


def test_without_a_run_the_page_shows_the_shipped_model():
    with served() as (url, _):
        with urlopen(f"{url}/api/model") as answer:
            described = json.load(answer)
        with urlopen(f"{url}/api/digits/0") as answer:
            digits = [np.array(digit["pixels"], np.uint8).squeeze() for digit in json.load(answer)]
        size = round(described["digit_size"])
        scene = Image.new("L", (50, 50))
        for digit, place in ((digits[3], (2, 2)), (digits[8], (26, 26))):
            scene.paste(Image.fromarray(digit).resize((size, size)), place)
        asked = {"pixels": listed(np.array(scene)), "num_steps": None}
        with urlopen(f"{url}/api/infer", json.dumps(asked).encode()) as answer:
            found = json.load(answer)
    assert described["run"] == "multi_mnist"
    assert found["count"] == 2


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["run=nowhere"], "error: run: must be a run's folder"),
        (["run={empty}"], "has no checkpoint yet"),
        (["run={run}", "port={taken}"], "port: {taken} on 127.0.0.1 cannot be used (Address alre"),
        (["run={run}", "port=65536"], "port: must be less than 65536, got 65536"),
        (["run={run}", "host=192.0.2.1"], "host: must be an IPv4 address of this machine"),
        (["run={run}", "prot=0"], "prot: no such key; did you mean port?"),
        (["run={run}", "sliders.scale=1.0"], "sliders.scale: must be less than 1, got 1.0"),
    ],
)
def test_bad_input_is_one_line(smoke_run, tmp_path, overrides, message):
    write_config(tmp_path, read_config(smoke_run), [])
    with socket.create_server(("127.0.0.1", 0)) as other:
        known = {"run": smoke_run, "empty": tmp_path, "taken": other.getsockname()[1]}
        result = run_script("demo", *(override.format(**known) for override in overrides))
    assert result.returncode == 1
    lines = [line for line in result.stderr.splitlines() if line]
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    assert message.format(**known) in lines[0]
    assert result.stdout == ""
