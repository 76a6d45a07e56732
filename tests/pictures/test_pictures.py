"""Pictures: every panel shows what it should, where it should."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_hex, to_rgb
from PIL import Image

from air.model.canvas import ObjectLatents
from air.model.config import ImageConfig, OverConfig
from air.model.posterior import Posterior
from air.model.windows import window_boxes, window_to_image
from air.pictures.charts import draw_confusion, draw_training_curves
from air.pictures.colours import STEP_COLOURS
from air.pictures.figure_files import save_figure
from air.pictures.gallery import select
from air.pictures.latents import (
    draw_window_places,
    draw_z_what_space,
    principal_components,
    spread_out,
)
from air.pictures.prior_samples import draw_prior_samples, sample_scenes
from air.pictures.reconstructions import draw_reconstructions, tracked_reconstructions
from air.pictures.segmentation import alone, by_step, draw_segmentation, without_background
from air.pictures.steps import (
    canvases,
    decodings,
    draw_build_up,
    draw_windows,
    glimpses,
    save_animation,
)
from air.tracking.values import ConfusionMatrix
from tests.helpers.any_size import LARGE, any_size, on_larger, scenes
from tests.helpers.models import tiny

SIZE = 6


@pytest.fixture
def model():
    return tiny()


@pytest.fixture
def scene(model):
    """Three images with 2, 1 and 0 objects at places that are known, and their posterior."""
    count = torch.tensor([2, 1, 0])
    z_where = torch.tensor([[2.0, -1.0, -1.0], [2.0, 1.0, 1.0]]).expand(3, 2, 3).clone()
    z_what = torch.randn(3, 2, 2)
    z_pres = (torch.arange(2) < count.unsqueeze(-1)).float()
    with torch.no_grad():
        images = model.model.render(ObjectLatents(z_pres, z_where, z_what)).clamp(0, 1)
        posterior = Posterior(
            count=count,
            count_probs=torch.eye(3)[count],
            z_pres=z_pres,
            z_where=z_where,
            z_what=z_what,
            boxes=window_boxes(z_where, SIZE),
            reconstruction=images / 2,
            segmentation=model.model.render_and_segment(ObjectLatents(z_pres, z_where, z_what))[1],
            background=None,
        )
    return images, posterior


def shown(axis):
    (image,) = axis.images
    return torch.from_numpy(np.array(image.get_array()))


def windows(axis):
    """The colour and edges of each window drawn."""
    return [
        (to_hex(patch.get_edgecolor()).upper(), [*patch.get_xy(), *patch.get_bbox().max])
        for patch in axis.patches
    ]


def table(figure, columns):
    axes = figure.axes
    return [axes[i : i + columns] for i in range(0, len(axes), columns)]


def test_reconstructions_are_below_the_inputs_with_windows_by_step(scene):
    images, posterior = scene
    above, below = table(draw_reconstructions(images, posterior, torch.tensor([2, 2, 0])), 3)
    for i in range(3):
        assert torch.equal(shown(above[i]), images[i])
        assert torch.equal(shown(below[i]), posterior.reconstruction[i])
        drawn = windows(above[i])
        assert [colour for colour, _ in drawn] == list(STEP_COLOURS[: posterior.count[i]])
        assert [box for _, box in drawn] == posterior.boxes[i, : posterior.count[i]].tolist()
        assert not windows(below[i])
    assert [axis.get_title() for axis in above] == [
        "found 2, true 2",
        "found 1, true 2",
        "found 0, true 0",
    ]


def test_windows_and_decodings_are_those_of_each_step(model, scene):
    images, posterior = scene
    crops, decoded = glimpses(model, images, posterior), decodings(model, posterior)
    # An object placed alone and cropped at its own window is the object again.
    alone = window_to_image(posterior.z_where[1, :1], decoded[1, :1], 60)
    assert alone.amax() > 0
    inputs, *steps = table(draw_windows(images, posterior, crops, decoded), 3)
    assert len(steps) == 4  # a window and a decoding for each of two steps
    for i in range(3):
        assert torch.equal(shown(inputs[i]), images[i])
        for t in range(2):
            crop, decoding = steps[2 * t][i], steps[2 * t + 1][i]
            if t < posterior.count[i]:
                assert torch.equal(shown(crop), crops[i, t])
                assert torch.equal(shown(decoding), decoded[i, t])
                for spine in crop.spines.values():
                    assert to_hex(spine.get_edgecolor()).upper() == STEP_COLOURS[t]
            else:
                assert not crop.images
                assert not decoding.images


def test_the_canvas_grows_by_one_object_a_step_to_the_reconstruction(model, scene):
    images, posterior = scene
    canvas = canvases(model, posterior)
    assert canvas.shape == (3, 3, SIZE, SIZE)
    assert not canvas[:, 0].any()
    objects = model.model.coverage(posterior.z_where, posterior.z_what)
    torch.testing.assert_close(canvas[0, 2] - canvas[0, 1], objects[0, 1].detach())
    torch.testing.assert_close(canvas[:, -1].clamp(0, 1), images)
    rows = table(draw_build_up(images, posterior, canvas), 4)
    for i, row in enumerate(rows):
        assert torch.equal(shown(row[0]), images[i])
        for t in range(3):
            if t <= posterior.count[i]:
                assert torch.equal(shown(row[t + 1]), canvas[i, t])
                assert [colour for colour, _ in windows(row[t + 1])] == (
                    [STEP_COLOURS[t - 1]] if t else []
                )
            else:
                assert not row[t + 1].images


@pytest.fixture(params=[1, 3])
def covering(request):
    """A model whose objects cover one another and a background; images, and what it finds."""
    channels = request.param
    air = tiny(
        num_channels=channels,
        background=ImageConfig("image", plain=False),
        compositing=OverConfig("over"),
        decoder_output_bias=1.0,  # which makes objects opaque
    )
    torch.nn.init.normal_(air.model.canvas.background.logits)
    images = torch.rand(3, 6, 6) if channels == 1 else torch.rand(3, 6, 6, 3)
    found = air.infer(images)
    z_pres = torch.tensor([[1.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
    with torch.no_grad():
        drawn, segmentation = air.model.render_and_segment(
            ObjectLatents(z_pres, found.z_where, found.z_what),
            air.model.canvas.background.draw(3, 6),
        )
    posterior = replace(
        found,
        count=z_pres.sum(-1).long(),
        z_pres=z_pres,
        reconstruction=drawn,
        segmentation=segmentation,
    )
    return air, images, posterior


def test_what_each_object_explains_is_in_its_colour_beside_the_truth(covering):
    air, images, posterior = covering
    objects, bare = alone(air, posterior), without_background(air, posterior)
    assert objects.shape == (3, 2, *images.shape[1:])
    assert bare.shape == images.shape
    grey = torch.tensor(0.5)
    torch.testing.assert_close(bare[1], objects[1, 0])  # it has no other object
    torch.testing.assert_close(bare[2], grey.expand_as(bare[2]))
    true = torch.tensor([0, 2, 1])[posterior.segmentation.long()]  # as inferred, other numbers
    figure = draw_segmentation(images, posterior, objects, bare, true)
    inputs, inferred, truth, together, first, second = table(figure, 3)
    colours = torch.tensor([to_rgb(colour) for colour in ("#000000", *STEP_COLOURS[:2])])
    for i in range(3):
        assert torch.equal(shown(inputs[i]), images[i])
        expected = colours[posterior.segmentation[i].long()]
        torch.testing.assert_close(shown(inferred[i]), expected)
        torch.testing.assert_close(shown(truth[i]), expected)
        torch.testing.assert_close(shown(together[i]), bare[i])
        for t, row in enumerate((first, second)):
            assert bool(row[i].images) == (t < posterior.count[i])
            if row[i].images:
                torch.testing.assert_close(shown(row[i]), objects[i, t])
    labels = [row[0].get_ylabel() for row in table(figure, 3)]
    assert labels == ["input", "segmentation", "true masks", "objects", "object 1", "object 2"]


def test_without_a_background_or_the_truth_only_the_objects_are_shown(model, scene):
    images, posterior = scene
    objects = alone(model, posterior)
    assert without_background(model, posterior) is None
    torch.testing.assert_close(objects[1, 0], images[1])  # light on black
    figure = draw_segmentation(images, posterior, objects)
    labels = [row[0].get_ylabel() for row in table(figure, 3)]
    assert labels == ["input", "segmentation", "object 1", "object 2"]


def test_true_objects_are_numbered_as_the_steps_that_explain_them():
    true = torch.tensor([[1, 1, 1, 2], [3, 3, 0, 2], [3, 3, 0, 0]])
    inferred = torch.tensor([[2, 2, 0, 0], [1, 1, 1, 0], [1, 2, 0, 0]])
    # The third object is the first step's, the first one the second's; the second is in no step.
    assert by_step(true, inferred).tolist() == [[2, 2, 2, 3], [1, 1, 0, 3], [1, 1, 0, 0]]
    assert by_step(true, torch.zeros(3, 4)).tolist() == true.tolist()
    assert not by_step(torch.zeros(3, 4), inferred).any()


def test_the_background_is_below_the_reconstructions_and_beside_the_tracked_ones(covering):
    _, images, posterior = covering
    rows = table(draw_reconstructions(images, posterior), 3)
    assert [row[0].get_ylabel() for row in rows] == ["input", "reconstruction", "background"]
    for i, picture in enumerate(tracked_reconstructions(images, posterior)):
        torch.testing.assert_close(shown(rows[2][i]), posterior.background[i])
        expected = (posterior.background[i].clamp(0, 1) * 255).round().byte().numpy()
        np.testing.assert_array_equal(picture.image[:, 12:], expected)
        assert picture.image.shape[:2] == (6, 18)
        np.testing.assert_array_equal(picture.segmentation[:, :6], posterior.segmentation[i])
        assert not picture.segmentation[:, 6:].any()


def test_the_animation_has_a_frame_for_each_step(model, scene, tmp_path):
    images, posterior = scene
    canvas = canvases(model, posterior)
    save_animation(tmp_path / "new" / "a.gif", images, posterior, canvas)
    with Image.open(tmp_path / "new" / "a.gif") as animation:
        assert animation.n_frames == 3
        frames = []
        for i in range(3):
            animation.seek(i)
            frames.append(np.asarray(animation.convert("L"), dtype=int))
    half = frames[0].shape[0] // 2
    below = [frame[half:] for frame in frames]
    assert (below[0] <= 90).all()  # an empty canvas, but for the grey edges
    brightness = [frame.sum() for frame in below]
    assert brightness[0] < brightness[1] < brightness[2]
    width = frames[0].shape[1] // 3
    assert (below[1][:, 2 * width :] == below[2][:, 2 * width :]).all()  # 0 objects: nothing comes


def test_files_are_written_in_every_format_and_not_empty(scene, tmp_path):
    figure = draw_reconstructions(*scene)
    png, pdf = save_figure(figure, tmp_path / "new" / "picture", ("png", "pdf"))
    with Image.open(png) as image:
        assert np.asarray(image.convert("L")).std() > 0
    assert pdf.read_bytes().startswith(b"%PDF")


def test_sampled_scenes_have_the_count_asked_for_and_leave_the_random_state_alone(model):
    state = torch.get_rng_state()
    assert not sample_scenes(model, 0, 4, seed=0).any()
    one, again, other = (sample_scenes(model, 1, 4, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    many = sample_scenes(model, 5, 4, seed=0)  # more than the model's two steps
    assert (many.sum((1, 2)) > one.sum((1, 2))).all()
    rows = table(draw_prior_samples([one, many], [1, 5]), 4)
    assert torch.equal(shown(rows[1][2]), many[2])
    assert [row[0].get_ylabel() for row in rows] == ["1 object", "5 objects"]


def test_confusion_matrix_has_its_numbers_in_place():
    counts = np.array([[5, 0, 1], [2, 7, 0]])
    (axis,) = draw_confusion(ConfusionMatrix(counts)).axes
    written = {(t.get_position()[1], t.get_position()[0]): int(t.get_text()) for t in axis.texts}
    cells = itertools.product(range(2), range(3))
    assert written == {cell: counts[cell] for cell in cells}


def test_training_curves_show_what_was_logged():
    lines = [{"iteration": i, "train/elbo": 10.0 * i, "train/kl_what": 1.0} for i in range(1, 9)]
    lines.append({"iteration": 8, "val/elbo": 70.0, "val/count_accuracy": 0.5})
    lines.append({"iteration": 9, "val/elbo": None})  # what was not finite
    elbo, terms, accuracy = draw_training_curves(lines).axes
    training, held_out = elbo.lines
    assert list(training.get_ydata()) == [10.0 * i for i in range(1, 9)]
    assert list(held_out.get_xdata()) == [8]
    assert [line.get_label() for line in terms.lines] == ["z_what"]
    assert list(accuracy.lines[0].get_ydata()) == [0.5]
    (_, _, empty) = draw_training_curves([{"iteration": 1, "train/elbo": 1.0}]).axes
    assert [text.get_text() for text in empty.texts] == ["the data has no counts"]


def test_principal_components_of_points_on_a_line():
    along = torch.linspace(-3, 3, 7)
    points, shares = principal_components(along.unsqueeze(-1) * torch.tensor([0.6, 0.0, 0.8]))
    torch.testing.assert_close(points[:, 0].float(), along)
    torch.testing.assert_close(points[:, 1].float(), torch.zeros(7), atol=1e-5, rtol=0)
    assert shares == pytest.approx([1, 0])
    assert principal_components(torch.ones(1, 4))[1] == [0.0, 0.0]


@given(st.integers(1, 60), st.integers(1, 20), st.integers(0, 99))
def test_thumbnails_keep_their_distance(num_points, num, seed):
    points = torch.rand(num_points, 2, generator=torch.Generator().manual_seed(seed))
    chosen = spread_out(points, num)
    assert 1 <= len(chosen) <= num
    assert len(set(chosen)) == len(chosen)
    extent = points.amax(0) - points.amin(0)
    scaled = points[chosen] / extent.clamp(min=1e-9)
    if len(chosen) > 1:
        assert torch.pdist(scaled).min() > 0.79 / num**0.5


def test_latents_are_drawn_for_one_code_and_for_no_object_at_all(model, scene):
    _, posterior = scene
    assert draw_z_what_space(torch.ones(1, 2), torch.zeros(1, 4, 4)).axes
    first, second, widths = draw_window_places(posterior, SIZE).axes
    assert (first.get_title(), second.get_title()) == ("step 1: 2 windows", "step 2: 1 windows")
    centres = first.collections[0].get_offsets()
    boxes = posterior.boxes[:2, 0]
    np.testing.assert_allclose(centres, (boxes[:, :2] + boxes[:, 2:]) / 2)
    assert len(widths.patches) == 2
    empty = select(posterior, slice(2, None))
    assert draw_window_places(empty, SIZE).axes[0].get_title() == "step 1: 0 windows"


def test_tracked_pictures_pair_input_and_reconstruction_with_boxes():
    air = tiny()
    images = torch.randint(0, 256, (5, 6, 6), dtype=torch.uint8)
    result = air.infer(images)
    for i, picture in enumerate(tracked_reconstructions(images, result)):
        assert picture.image.shape == (6, 12)
        assert np.array_equal(picture.image[:, :6], images[i].numpy())
        expected = (result.reconstruction[i].clamp(0, 1) * 255).round().byte().numpy()
        assert np.array_equal(picture.image[:, 6:], expected)
        assert [box.step for box in picture.boxes] == list(range(int(result.count[i])))
        for box in picture.boxes:
            assert [box.x0, box.y0, box.x1, box.y1] == result.boxes[i, box.step].tolist()


def test_the_build_up_is_as_large_as_the_images():
    model, images = any_size(), on_larger(scenes(2))
    posterior = model.infer(images)
    canvas = canvases(model, posterior)
    assert canvas.shape == (2, 4, LARGE, LARGE)
    torch.testing.assert_close(canvas[:, -1], posterior.reconstruction)
    assert glimpses(model, images, posterior).shape == (2, 3, 4, 4)
