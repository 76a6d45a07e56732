"""Scenes of cutouts: reproducible, uniform in count, and true to their pixels."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from air.data.config import MultiMNISTConfig
from air.data.cutouts import Cutouts
from air.data.digits import bundled_digits
from air.data.drawing import draw_data, draw_scenes
from air.data.multi_mnist import CutoutPainter
from air.data.scenes import Scenes
from air.errors import DataError


def scene_config(**changes):
    values = {
        "kind": "multi_mnist",
        "canvas_size": 50,
        "min_objects": 0,
        "max_objects": 2,
        "held_out_counts": (),
        "count_weights": None,
        "scale_mean": 1.3,
        "scale_sd": 0.1,
        "background": "none",
        "num_train": 300,
        "num_test": 200,
        "seed": 0,
        "root": "unused",
    }
    return MultiMNISTConfig(**(values | changes))


def drawn(cutouts, config, *arguments, **keywords):
    return draw_scenes(CutoutPainter(cutouts, config), config, *arguments, **keywords)


def drawn_data(train, test, config):
    return draw_data(CutoutPainter(train, config), CutoutPainter(test, config), config)


def test_held_out_counts_are_never_drawn_and_the_others_equally_often(train_digits):
    config = scene_config(max_objects=3, held_out_counts=(2, 7))
    count = drawn(train_digits, config, 3000, 0).count
    assert count.unique().tolist() == [0, 1, 3]
    # Each count is 1 000 times there, ± 5 standard deviations of a binomial.
    assert all(abs(int((count == n).sum()) - 1000) < 130 for n in (0, 1, 3))


def test_counts_are_drawn_as_often_as_their_weights_say(train_digits):
    config = scene_config(max_objects=3, held_out_counts=(3,), count_weights=(1, 7, 2, 30))
    shares = drawn(train_digits, config, 3000, 0).count.bincount(minlength=4) / 3000
    # ± 5 standard deviations of a binomial
    torch.testing.assert_close(shares, torch.tensor([0.1, 0.7, 0.2, 0]), rtol=0, atol=0.042)


@pytest.fixture(scope="module")
def train_digits():
    return bundled_digits()[0]


def same_scenes(first, second):
    return all(
        torch.allclose(getattr(first, name), getattr(second, name), rtol=0, atol=0, equal_nan=True)
        for name in ("images", "count", "labels", "boxes")
    )


def inside_boxes(boxes, size):
    """(max_objects, size, size) masks of the boxes; nan boxes hold nothing."""
    along = torch.arange(size)
    x0, y0, x1, y1 = (boxes[:, i, None] for i in range(4))
    columns = (along >= x0) & (along < x1)
    rows = (along >= y0) & (along < y1)
    return rows[:, :, None] & columns[:, None, :]


def check_truth(scenes, config):
    size = config.canvas_size
    assert scenes.images.dtype == torch.uint8
    assert scenes.images.shape == (len(scenes), size, size)
    assert scenes.count.dtype == scenes.labels.dtype == torch.int64
    assert scenes.boxes.dtype == torch.float32
    assert ((scenes.count >= config.min_objects) & (scenes.count <= config.max_objects)).all()

    # The first `count` rows of labels and boxes are objects; the others are absent.
    present = torch.arange(config.max_objects) < scenes.count[:, None]
    assert torch.equal(scenes.labels >= 0, present)
    assert torch.equal(~scenes.boxes.isnan().any(-1), present)
    assert torch.equal(scenes.boxes.isnan().all(-1), ~present)
    objects = scenes.boxes[present]
    assert (objects == objects.round()).all()
    assert ((objects[:, :2] >= 0) & (objects[:, 2:] <= size)).all()
    assert (objects[:, :2] < objects[:, 2:]).all()

    for image, boxes in zip(scenes.images, scenes.boxes, strict=True):
        masks = inside_boxes(boxes, size)
        assert not image[~masks.any(0)].any()
        # Each side of a box touches a nonzero pixel: its digit's, or one that lies over it.
        for x0, y0, x1, y1 in boxes[~boxes.isnan().any(-1)].int().tolist():
            inside = image[y0:y1, x0:x1]
            for side in (inside[0], inside[-1], inside[:, 0], inside[:, -1]):
                assert side.any()


def test_truth_matches_pixels(train_digits):
    config = scene_config(max_objects=3)
    check_truth(drawn(train_digits, config, 300, 0), config)


def test_the_box_of_a_single_digit_is_tight(train_digits):
    config = scene_config(min_objects=1, max_objects=1)
    scenes = drawn(train_digits, config, 200, 1)
    for image, box in zip(scenes.images, scenes.boxes, strict=True):
        rows, columns = image.nonzero(as_tuple=True)
        edges = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert box[0].tolist() == edges


def test_without_resizing_an_object_is_its_digit(train_digits):
    config = scene_config(min_objects=1, max_objects=1, scale_mean=1.0, scale_sd=0.0)
    scenes = drawn(train_digits, config, 50, 2)
    known = {}
    for image, label in zip(train_digits.images, train_digits.labels, strict=True):
        rows, columns = np.nonzero(image)
        tight = image[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        known[tight.shape, tight.tobytes()] = label
    for image, label, box in zip(scenes.images, scenes.labels, scenes.boxes, strict=True):
        x0, y0, x1, y1 = box[0].int().tolist()
        tight = image[y0:y1, x0:x1].contiguous().numpy()
        assert known[tight.shape, tight.tobytes()] == label[0]


def block_digits(value, side=8):
    """One digit: a centred square of one grey value."""
    images = np.zeros((1, 28, 28), np.uint8)
    begin = (28 - side) // 2
    images[0, begin : begin + side, begin : begin + side] = value
    return Cutouts(images, np.array([7]))


def test_intensity_adds_up_and_never_wraps_around():
    # 120 + 120 fits a byte, 3 * 120 does not: sums show which scenes were accepted.
    config = scene_config(
        canvas_size=44, min_objects=0, max_objects=4, scale_mean=1.0, scale_sd=0.0
    )
    scenes = drawn(block_digits(120), config, 500, 0)
    totals = scenes.images.long().sum((1, 2))
    assert torch.equal(totals, scenes.count * 120 * 8 * 8)
    assert set(scenes.images.unique().tolist()) == {0, 120, 240}


def test_digits_that_would_exceed_a_byte_never_overlap():
    config = scene_config(
        canvas_size=40, min_objects=2, max_objects=2, scale_mean=1.0, scale_sd=0.0
    )
    scenes = drawn(block_digits(200), config, 300, 0)
    overlap = inside_boxes(scenes.boxes.flatten(0, 1), 40).view(-1, 2, 40, 40).all(1)
    assert not overlap.any()
    assert set(scenes.images.unique().tolist()) == {0, 200}


def test_resizing_keeps_the_mean_intensity(train_digits):
    config = scene_config(min_objects=1, max_objects=1, scale_mean=2.0, scale_sd=0.0)
    scenes = drawn(train_digits, config, 3000, 0)
    mean = scenes.images.float().sum((1, 2)).mean() / 14**2  # digits of 28 / 2 pixels
    assert mean.item() == pytest.approx(train_digits.images.mean(), rel=0.03)


def test_count_is_uniform(train_digits):
    # Chi-square of 3000 scenes over 4 counts: above 16.3 with probability 0.001.
    scenes = drawn(train_digits, scene_config(max_objects=3), 3000, 5)
    observed = torch.bincount(scenes.count, minlength=4)
    assert ((observed - 750.0) ** 2 / 750).sum() < 16.3


def test_positions_and_digits_are_uniform(train_digits):
    config = scene_config(
        canvas_size=34, min_objects=1, max_objects=1, scale_mean=1.0, scale_sd=0.0
    )
    scenes = drawn(block_digits(255), config, 3500, 0)
    for axis in (0, 1):  # 7 places along each axis, offset by the block's 10 pixels of margin
        observed = torch.bincount(scenes.boxes[:, 0, axis].long() - 10)
        assert len(observed) == 7
        assert ((observed - 500.0) ** 2 / 500).sum() < 22.5  # probability 0.001
    labels = drawn(train_digits, scene_config(min_objects=1), 2000, 0).labels
    shares = torch.bincount(labels[labels >= 0], minlength=10) / (labels >= 0).sum()
    assert shares.numpy() == pytest.approx(np.bincount(train_digits.labels) / 10000, abs=0.03)


def test_digit_sizes_follow_the_scale():
    config = scene_config(min_objects=1, max_objects=1)
    full = Cutouts(np.full((1, 28, 28), 255, np.uint8), np.array([0]))  # its box is its size
    boxes = drawn(full, config, 4000, 0).boxes[:, 0]
    width, height = (boxes[:, 2:] - boxes[:, :2]).T
    assert torch.equal(width, height)
    expected = np.floor(28 / np.random.default_rng(1).normal(1.3, 0.1, 100_000))
    assert width.mean().item() == pytest.approx(expected.mean(), abs=0.15)
    assert width.std().item() == pytest.approx(expected.std(), abs=0.15)


def test_same_seed_same_scenes_other_seed_others(train_digits):
    config = scene_config()
    first = drawn(train_digits, config, 100, 0)
    assert same_scenes(first, drawn(train_digits, config, 100, 0))
    for seed in (1, [0, 1], np.random.SeedSequence(0).spawn(1)[0]):
        assert not torch.equal(first.images, drawn(train_digits, config, 100, seed).images)


def test_scenes_do_not_depend_on_the_number_of_threads(train_digits):
    config, threads = scene_config(), torch.get_num_threads()
    each = []
    try:
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            each.append(drawn(train_digits, config, 300, 0))
    finally:
        torch.set_num_threads(threads)
    assert same_scenes(each[0], each[1])
    assert same_scenes(each[0], each[2])


def test_drawing_leaves_the_global_random_state_alone(train_digits):
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    drawn(train_digits, scene_config(), 50, 0)
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()


def test_training_and_test_scenes_are_independent_streams(train_digits):
    config = scene_config(num_train=100, num_test=100)
    data = drawn_data(train_digits, train_digits, config)
    assert not torch.equal(data.train.images, data.test.images)
    longer = drawn_data(train_digits, train_digits, scene_config(num_train=100, num_test=150))
    assert same_scenes(data.train, longer.train)


def test_training_and_test_scenes_use_their_own_digits():
    data = drawn_data(block_digits(100), block_digits(50), scene_config(min_objects=1))
    assert data.train.images.max() > 90
    assert data.test.images.max() <= 2 * 50


@settings(max_examples=12, deadline=None, database=None)
@given(
    canvas_size=st.integers(24, 70),
    min_objects=st.integers(0, 2),
    more=st.integers(0, 2),
    scale_mean=st.floats(1.5, 3.0),
    scale_sd=st.floats(0.0, 2.0),
    seed=st.integers(0, 2**40),
)
def test_any_settings_give_true_scenes(canvas_size, min_objects, more, scale_mean, scale_sd, seed):
    config = scene_config(
        canvas_size=canvas_size,
        min_objects=min_objects,
        max_objects=max(1, min_objects + more),
        scale_mean=scale_mean,
        scale_sd=scale_sd,
    )
    digits = bundled_digits()[1]
    try:
        scenes = drawn(digits, config, 20, seed)
    except DataError:  # several large digits on a small canvas
        assert config.max_objects > 1
        return
    check_truth(scenes, config)


def test_a_digit_never_exceeds_the_canvas(train_digits):
    config = scene_config(canvas_size=20, max_objects=1, scale_mean=1.4, scale_sd=1.0)
    check_truth(drawn(train_digits, config, 200, 0), config)


def test_masks_tell_the_brightest_digit_of_every_pixel_and_change_nothing_else(train_digits):
    config = scene_config(min_objects=0, max_objects=3)
    plain = drawn(train_digits, config, 300, 0)
    scenes = drawn(train_digits, config, 300, 0, with_masks=True)
    assert plain.masks is None
    assert same_scenes(plain, scenes)
    assert torch.equal(scenes.masks > 0, scenes.images > 0)
    for i in range(300):
        for n in range(int(scenes.count[i])):
            own = (scenes.masks[i] == n + 1).nonzero()  # rows, columns
            x0, y0, x1, y1 = scenes.boxes[i, n].tolist()
            assert len(own) > 0
            assert ((own >= torch.tensor([y0, x0])) & (own < torch.tensor([y1, x1]))).all()
        assert scenes.masks[i].max() <= scenes.count[i]


def test_of_two_digits_on_a_pixel_the_brighter_one_has_it():
    config = scene_config(
        canvas_size=32, min_objects=2, max_objects=2, scale_mean=1.0, scale_sd=0.0
    )
    images = np.stack([np.full((28, 28), 60, np.uint8), np.full((28, 28), 120, np.uint8)])
    scenes = drawn(Cutouts(images, np.array([0, 1])), config, 40, 0, with_masks=True)
    both = (scenes.labels == torch.tensor([0, 1])).all(-1)
    assert both.any()
    for image, mask in zip(scenes.images[both], scenes.masks[both], strict=True):
        assert (mask[image == 180] == 2).all()
        assert (mask[image == 60] == 1).all()
        assert (mask[image == 120] == 2).all()


def test_impossible_scenes_are_one_clear_error():
    config = scene_config(
        canvas_size=28, min_objects=2, max_objects=2, scale_mean=1.0, scale_sd=0.0
    )
    with pytest.raises(
        DataError, match=r"^data\.max_objects=2 .*data\.canvas_size=28.*raise data\.scale"
    ) as e:
        drawn(block_digits(255), config, 10, 0)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("max_objects", [12, 300])
def test_far_too_many_digits_fail_fast(train_digits, max_objects):
    with pytest.raises(DataError, match=r"lower data\.max_objects"):
        drawn(train_digits, scene_config(max_objects=max_objects), 1000, 0)


def test_subset_and_length(train_digits):
    scenes = drawn(train_digits, scene_config(), 30, 0)
    assert len(scenes) == 30
    assert scenes.x_size == 50
    every_third = scenes.subset(slice(0, 30, 3))
    assert len(every_third) == 10
    assert same_scenes(every_third, scenes.subset(torch.arange(0, 30, 3)))
    bare = Scenes(scenes.images, None, None, None).subset(slice(4))
    assert (len(bare), bare.count, bare.labels, bare.boxes) == (4, None, None, None)


def test_varied_shows_every_count_in_turn():
    images = torch.arange(6, dtype=torch.uint8).view(6, 1, 1)
    count = torch.tensor([1, 1, 0, 2, 1, 0])
    varied = Scenes(images, count, None, None).varied(5)
    assert varied.images.flatten().tolist() == [3, 0, 2, 1, 5]
    assert varied.count.tolist() == [2, 1, 0, 1, 0]
    assert len(Scenes(images, count, None, None).varied(100)) == 6
    assert Scenes(images, None, None, None).varied(2).images.flatten().tolist() == [0, 1]
