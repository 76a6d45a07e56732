"""`scripts/infer.py`: what it writes of a folder of files is what `infer` says of the images."""

import csv
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import air
from air.annotation.drawing import PICTURE_SIZE, draw_found
from air.annotation.found import found_in
from air.cli.compose import compose_config
from air.data.image_files import placed
from air.model.posterior import Posterior
from tests.helpers.in_process import run_script

SIZE, HEIGHT, WIDTH = 24, 30, 48
NUM_FILES = 10


def write_files(folder, num, colour=True, seed=0):
    """Write images of one or two squares on grey."""
    random = np.random.default_rng(seed)
    folder.mkdir()
    for i in range(num):
        image = np.full((HEIGHT, WIDTH, 3), 40, np.uint8)
        for x in (4, 30)[: 1 + i % 2]:
            y = random.integers(0, HEIGHT - 12)
            image[y : y + 12, x : x + 12] = random.integers(120, 256, 3 if colour else 1)
        Image.fromarray(image).save(folder / f"{i:02}.png")
    return folder


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("root")


@pytest.fixture(scope="module")
def trained(root, tmp_path_factory):
    """The folder of a short run on files in colour; not to be written to."""
    from air.training.run import train

    folder = tmp_path_factory.mktemp("trained")
    files = write_files(folder / "files", 40)
    (files / "counts.csv").write_text(
        "file,count\n" + "".join(f"{i:02}.png,{1 + i % 2}\n" for i in range(40))
    )
    data = ("data=images", f"data.path={files}", f"data.size={SIZE}", "data.fit=crop")
    small = ("train.num_iterations=12", "train.batch_size=8", "train.step=eager")
    small += ("train.eval_every=12", "train.save_every=12", "train.num_pictures=0")
    parts = (
        "background=image",
        "compositing=over",
        "prior=falling",
        "sleep=none",
        "optim=constant",
        "optim.lr=0.01",
    )
    overrides = ("experiment=smoke", *data, *small, *parts, f"data.root={root}")
    accuracy = train(compose_config(overrides), folder / "run", [])
    assert 0 <= accuracy <= 1  # the counts were read
    return folder / "run"


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


@pytest.fixture
def files(tmp_path):
    return write_files(tmp_path / "photos", NUM_FILES, seed=1)


@pytest.fixture
def infer(run, files, root):
    """Run the command on the files, and return where its output is said to be."""

    def command(*overrides):
        given = (f"run={run}", f"images={files}", f"root={root}", *overrides)
        result = run_script("infer", *given)
        assert result.returncode == 0, result.stderr
        return result

    return command


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def squares(files, fit):
    """Return the files' squares (N, SIZE, SIZE, 3) and their placement."""
    placement = placed(HEIGHT, WIDTH, SIZE, fit)
    images = []
    for path in sorted(files.glob("*.png")):
        with Image.open(path) as file:
            pixels = torch.from_numpy(np.array(file.convert("RGB")))
        images.append(placement.square(pixels.movedim(-1, 0)).movedim(0, -1))
    return torch.stack(images), placement


@pytest.mark.parametrize(
    ("overrides", "fit", "num_steps"),
    [((), "crop", None), (("fit=pad", "num_steps=5", "batch_size=3"), "pad", 5)],
    ids=["as in training", "otherwise"],
)
def test_tables_agree_with_infer(run, files, infer, overrides, fit, num_steps):
    infer("num_pictures=0", *overrides)
    output = run / "inferred" / "photos"
    assert {path.name for path in output.iterdir()} == {"counts.csv", "objects.csv", "objects.json"}
    images, placement = squares(files, fit)
    posterior = air.load(run).infer(images, num_steps)
    names = [path.name for path in sorted(files.iterdir())]
    at_least = posterior.count_probs.flip(1).cumsum(1).flip(1)[:, 1:]
    boxes = placement.boxes_in_file(posterior.boxes)

    counts, objects = table(output / "counts.csv"), table(output / "objects.csv")
    assert [row["file"] for row in counts] == names
    assert [int(row["count"]) for row in counts] == posterior.count.tolist()
    for row, probabilities in zip(counts, posterior.count_probs, strict=True):
        assert float(row["probability"]) == pytest.approx(probabilities.max().item(), abs=1e-5)
    assert posterior.count.sum() > 0
    expected = [(i, t) for i, n in enumerate(posterior.count.tolist()) for t in range(n)]
    assert [(row["file"], int(row["object"]) - 1) for row in objects] == [
        (names[i], t) for i, t in expected
    ]
    for row, (i, t) in zip(objects, expected, strict=True):
        box = [float(row[name]) for name in ("x0", "y0", "x1", "y1")]
        assert box == pytest.approx(boxes[i, t].tolist(), abs=0.01)
        assert float(row["probability"]) == pytest.approx(at_least[i, t].item(), abs=1e-5)

    content = json.loads((output / "objects.json").read_text())
    assert content["settings"]["run"] == str(run)
    assert [entry["file"] for entry in content["files"]] == names
    nested = [each for entry in content["files"] for each in entry["objects"]]
    for each, (i, t) in zip(nested, expected, strict=True):
        assert each["box"] == pytest.approx(boxes[i, t].tolist(), abs=1e-3)
        assert each["z_where"] == pytest.approx(posterior.z_where[i, t].tolist(), abs=1e-4)
        assert each["z_what"] == pytest.approx(posterior.z_what[i, t].tolist(), abs=1e-4)


def test_pictures_are_as_many_as_asked_and_nothing_is_overwritten(run, infer):
    assert "inferred/photos\n" in infer("num_pictures=2").stdout
    before = (run / "inferred" / "photos" / "counts.csv").stat()
    assert "inferred/photos-2\n" in infer("num_pictures=1").stdout
    assert (run / "inferred" / "photos" / "counts.csv").stat() == before
    pictures = run / "inferred" / "photos" / "pictures"
    assert {path.name for path in pictures.iterdir()} == {"00.png.png", "01.png.png"}
    with Image.open(pictures / "00.png.png") as picture:
        width, height = picture.size
    assert height == PICTURE_SIZE * HEIGHT / WIDTH
    assert width > 2 * PICTURE_SIZE


def test_counts_that_were_found_can_be_corrected_and_learnt_from(run, files, infer):
    infer("num_pictures=0")
    shutil.copy(run / "inferred" / "photos" / "counts.csv", files)
    config = compose_config(("data=images", f"data.path={files}", f"data.root={run}"))
    data = config.data.build()
    count = [int(row["count"]) for row in table(files / "counts.csv")]
    assert sorted(data.train.count.tolist() + data.test.count.tolist()) == sorted(count)


def test_grey_files_of_a_model_in_colour_and_the_other_way(run, root, smoke_run, tmp_path):
    grey = write_files(tmp_path / "grey", 2, colour=False)
    result = run_script("infer", f"run={run}", f"images={grey}", f"root={root}")
    assert result.returncode == 0, result.stderr
    grey_run = shutil.copytree(smoke_run, tmp_path / "grey_run")
    mixed = write_files(tmp_path / "mixed", 3)
    shutil.copy(grey / "00.png", mixed)
    given = (f"run={grey_run}", f"images={mixed}", f"root={root}", "num_pictures=0")
    result = run_script("infer", *given)
    assert result.returncode == 0, result.stderr
    assert "mixed: made grey, as in training: 01.png, 02.png" in result.stdout
    assert len(table(grey_run / "inferred" / "mixed" / "counts.csv")) == 3


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], "images: is required, but missing"),
        (["images=nowhere"], "images: nowhere: must be a folder of PNG or JPEG files, got nothing"),
        (["images={files}", "run=nowhere"], "run: must be a run's folder"),
        (["images={files}", "output={run}"], "output: must be a new or empty folder"),
        (["images={files}", "size=5"], "size: must have images of 24 pixels as in training, got 5"),
        (["images={files}", "fit=stretch"], "fit: must be 'pad' or 'crop', got 'stretch'"),
        (["images={files}/.."], "got "),
        (["images={damaged}"], "1 of its 3 files cannot be read: 01.png (no whole PNG or JPEG"),
    ],
)
def test_bad_input_is_one_line(run, files, root, tmp_path, overrides, message):
    damaged = write_files(tmp_path / "damaged", 3)
    (damaged / "01.png").write_bytes(b"\x89PNG")
    places = {"run": run, "files": files, "damaged": damaged}
    given = [override.format(**places) for override in overrides]
    result = run_script("infer", f"run={run}", f"root={root}", *given)
    assert result.returncode == 1
    lines = [line for line in result.stderr.splitlines() if line]
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    assert message in lines[0]
    assert not (run / "inferred").exists()


def found(boxes, segmentation, placement):
    """Return what a posterior with these boxes (T, 4) in the square tells."""
    count = len(boxes)
    none = torch.zeros(1, count, 3)
    return found_in(
        "x.png",
        placement,
        Posterior(
            count=torch.tensor([count]),
            count_probs=torch.eye(count + 1)[-1:],
            z_pres=torch.ones(1, count),
            z_where=none,
            z_what=none,
            boxes=torch.tensor(boxes).view(1, count, 4),
            reconstruction=none,
            segmentation=segmentation.unsqueeze(0),
            background=None,
        ),
        0,
    )


@pytest.mark.parametrize("fit", ["pad", "crop"])
def test_a_picture_shows_boxes_and_parts_where_they_are_in_the_file(fit):
    image = torch.zeros(1, 32, 64, dtype=torch.uint8)
    placement = placed(32, 64, 32, fit)
    segmentation = torch.zeros(32, 32, dtype=torch.uint8)
    segmentation[12:16, 8:16] = 1  # of the square
    picture = draw_found(image, found([[8.0, 12.0, 16.0, 16.0]], segmentation, placement))
    assert picture.shape[1] == PICTURE_SIZE // 2
    # In a file of 64 x 32: padded, two of its pixels are one of the square.
    x0, y0, x1, y1 = (16, 8, 32, 16) if fit == "pad" else (24, 12, 32, 16)
    boxed, shown = picture[..., :PICTURE_SIZE].amax(0), picture[..., -PICTURE_SIZE:].amax(0)
    for half, tolerance in ((boxed, 2), (shown, 1)):
        rows, columns = half.nonzero(as_tuple=True)
        edges = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert edges == pytest.approx([8 * edge for edge in (x0, y0, x1, y1)], abs=tolerance)


def test_large_images_are_made_smaller_in_pictures():
    image = torch.full((3, 600, 1200), 70, dtype=torch.uint8)
    nothing = torch.zeros(32, 32, dtype=torch.uint8)
    picture = draw_found(image, found([], nothing, placed(600, 1200, 32, "pad")))
    assert picture.shape[1] == PICTURE_SIZE // 2
    assert (picture[..., :PICTURE_SIZE] == 70).all()
