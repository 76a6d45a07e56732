"""The demonstration: its answers against the model's own, what it refuses, and the command."""

import io
import json
import re
import signal
import socket
from urllib.request import urlopen

import numpy as np
import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient

from air.config.parsing import parse_as
from air.data.digits import bundled_digits
from air.demo.config import DemoConfig
from air.demo.server import STATIC, build_app
from air.demo.uploads import UploadError, read_upload
from air.model.canvas import ObjectLatents
from air.model.windows import image_to_window
from air.runs.folder import read_config, write_config
from air.runs.trained import open_run
from tests.helpers.demo_server import served
from tests.helpers.in_process import run_script
from tests.helpers.options import values_of


@pytest.fixture(scope="module")
def run(smoke_run):
    return open_run(smoke_run)


@pytest.fixture(scope="module")
def client(run, smoke_run):
    uploads = {"max_megabytes": 0.1, "max_megapixels": 0.25}
    values = {**values_of("demo"), "uploads": uploads, "run": str(smoke_run)}
    config = parse_as(DemoConfig, values)
    return TestClient(build_app(run, config))


@pytest.fixture
def image():
    return torch.randint(256, (50, 50), dtype=torch.uint8)


def saved(pixels, kind="PNG"):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def grey(image):
    return (image.clamp(0, 1) * 255).round().tolist()


@pytest.mark.parametrize("num_steps", [None, 5])
def test_a_scene_is_answered_with_what_the_model_infers(client, run, image, num_steps):
    asked = {"pixels": image.tolist(), "num_steps": num_steps}
    answer = client.post("/api/infer", json=asked).json()
    expected = run.air.infer(image[None], num_steps)
    assert answer["count"] == expected.count.item()
    assert answer["count_probs"] == pytest.approx(expected.count_probs[0].tolist(), abs=1e-6)
    assert answer["reconstruction"] == grey(expected.reconstruction[0])
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
        assert step["glimpse"] == grey(glimpses[t])
        assert step["decoding"] == grey(decodings[t])


def test_changed_latents_are_answered_with_what_the_model_renders(client, run, image):
    steps = client.post("/api/infer", json={"pixels": image.tolist(), "num_steps": None}).json()[
        "steps"
    ]
    steps = [{name: step[name] for name in ("present", "z_where", "z_what")} for step in steps]
    steps[1]["present"] = True
    steps[1]["z_where"] = [2.0, 0.4, -0.3]
    steps[1]["z_what"][0] += 1.5
    answer = client.post("/api/render", json={"steps": steps}).json()
    z_pres, z_where, z_what = (
        torch.tensor([[step[name] for step in steps]]) for name in ("present", "z_where", "z_what")
    )
    assert answer["reconstruction"] == grey(
        run.air.model.render(ObjectLatents(z_pres.float(), z_where, z_what))[0]
    )
    # A window is 50 / s pixels wide, and its centre is at -(x, y) / s in an image from -1 to 1.
    assert answer["steps"][1]["box"] == pytest.approx([7.5, 16.25, 32.5, 41.25])
    decoding = run.air.decode(z_what[0, 1]).unflatten(-1, (16, 16))
    assert answer["steps"][1]["decoding"] == grey(decoding)


BLACK = [[0] * 50] * 50
STEP = {"present": True, "z_where": [3, 0, 0], "z_what": [0] * 20}


@pytest.mark.parametrize(
    ("path", "content", "message"),
    [
        ("infer", {"pixels": BLACK[1:], "num_steps": 3}, "pixels: must be 50 rows of 50 values"),
        ("infer", {"pixels": [*BLACK[1:], [0]], "num_steps": 3}, "pixels: must be 50 rows"),
        ("infer", {"pixels": [[256]], "num_steps": 3}, "pixels.0.0: must be less than or equal"),
        ("infer", {"pixels": BLACK, "num_steps": 0}, "num_steps: must be greater than or equal"),
        ("infer", {"pixels": BLACK, "num_steps": 1e9}, "num_steps: must be"),
        ("infer", {"pixels": BLACK}, "num_steps: is required"),
        ("infer", [], "must be a JSON object"),
        ("infer", b"\xff", "must be JSON"),
        ("render", {"steps": []}, "steps: "),
        ("render", {"steps": [{**STEP, "z_what": [0]}]}, "z_what: must have 20 values"),
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
        read_upload(file.getvalue(), 50, 50)


def test_an_uploaded_image_fits_the_square_in_grey(client):
    pixels = np.zeros((100, 200, 3), np.uint8)
    pixels[40:60, 80:120] = 255
    answer = np.array(client.post("/api/upload", content=saved(pixels)).json()["pixels"])
    assert answer.shape == (50, 50)
    rows, columns = np.nonzero(answer > 127)
    # A quarter of the size, 25 rows of 50 columns from row 12 on, with black above and below.
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (22, 26, 20, 29)
    assert (answer[:12] == 0).all()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "WEBP"])
def test_dark_ink_on_white_paper_is_inverted(kind):
    paper = np.full((60, 60), 250, np.uint8)
    paper[20:40, 20:40] = 5
    seen = read_upload(saved(paper, kind), 60, 1)
    np.testing.assert_allclose(seen[25:35, 25:35], 250, atol=3)
    np.testing.assert_allclose(seen[:10], 5, atol=3)


def test_what_is_transparent_is_black_and_16_bits_are_grey():
    clear = np.zeros((20, 20, 4), np.uint8)
    clear[..., :3] = 255
    clear[8:12, 8:12, 3] = 255
    seen = read_upload(saved(clear), 20, 1)
    assert (seen[8:12, 8:12] == 255).all()
    assert seen.sum() == 16 * 255
    deep = np.zeros((20, 20), np.uint16)
    deep[8:12, 8:12] = 40_000
    assert read_upload(saved(deep), 20, 1)[9, 9] == pytest.approx(40_000 / 257, abs=1)


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
    assert described["digit_size"] == pytest.approx(28 / run.config.data.digit_scale_mean)
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
    with served(smoke_run) as (url, process):
        with urlopen(url) as page:
            assert "Attend, Infer, Repeat" in page.read().decode()
        with urlopen(f"{url}/api/model") as answer:
            assert json.load(answer)["x_size"] == 50
        process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=60)[0]
    assert process.returncode in (0, 130), output
    assert "Traceback" not in output
    assert sorted(path.name for path in smoke_run.iterdir()) == before


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], "run: is required, but missing"),
        (["run=nowhere"], "error: run: nowhere holds no run"),
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
