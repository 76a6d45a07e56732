"""`infer`: shapes, types, what is deterministic, what is drawn, and bad images."""

import numpy as np
import pytest
import torch
from pyro import poutine

from air.model.images import to_unit
from air.model.windows import window_boxes
from tests.helpers.models import tiny

RANDOM = np.random.default_rng(0)


def same(one, other):
    pairs = zip(vars(one).values(), vars(other).values(), strict=True)
    return all(a is b is None or torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("num_steps", [None, 1, 5])
def test_shapes_and_relations(num_steps):
    air, n, steps = tiny(), 7, num_steps or 2
    result = air.infer(torch.rand(n, 6, 6), num_steps)
    assert result.count.shape == (n,)
    assert result.count_probs.shape == (n, steps + 1)
    assert result.z_pres.shape == (n, steps)
    assert result.z_where.shape == (n, steps, 3)
    assert result.z_what.shape == (n, steps, 2)
    assert result.boxes.shape == (n, steps, 4)
    assert result.reconstruction.shape == (n, 6, 6)
    torch.testing.assert_close(result.count_probs.sum(-1), torch.ones(n))
    assert torch.equal(result.count, result.count_probs.argmax(-1))
    assert torch.equal(result.z_pres.sum(-1).long(), result.count)
    assert torch.equal(result.boxes, window_boxes(result.z_where, 6))


def test_deterministic_by_default_whatever_the_batching_and_random_state():
    air, images = tiny(), torch.rand(1203, 6, 6)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    whole = air.infer(images)
    assert torch.equal(torch.get_rng_state(), state)
    part = air.infer(images[1100:1110])
    torch.testing.assert_close(whole.z_where[1100:1110], part.z_where)
    assert same(air.infer(images), whole)


def test_posterior_means_follow_the_guide():
    air, images = tiny(num_steps=1), torch.rand(4, 6, 6)
    result = air.infer(images)
    condition = {"z_pres_0": torch.ones(4, 1), "z_where_0": result.z_where[:, 0]}
    nodes = poutine.trace(poutine.condition(air.guide, condition)).get_trace(images).nodes
    torch.testing.assert_close(result.z_where[:, 0], nodes["z_where_0"]["fn"].mean)
    torch.testing.assert_close(result.z_what[:, 0], nodes["z_what_0"]["fn"].mean)
    torch.testing.assert_close(
        result.count_probs[:, 1:], nodes["z_pres_0"]["fn"].base_dist.probs.detach()
    )


def test_samples_are_distributed_like_the_guide():
    air = tiny()
    images = torch.rand(1, 6, 6).repeat(20000, 1, 1)
    drawn = air.infer(images, sample=True)
    assert drawn.z_where.std(0).min() > 0
    _, z_pres = air.guide(images)
    guide_count = torch.cat(z_pres, -1).sum(-1)
    for n in range(3):
        expected = (guide_count == n).float().mean()
        torch.testing.assert_close((drawn.count == n).float().mean(), expected, atol=0.02, rtol=0)
        torch.testing.assert_close(drawn.count_probs[:, n].mean(), expected, atol=0.02, rtol=0)


def test_bools_are_black_and_white():
    air, x = tiny(), RANDOM.random((3, 6, 6)) > 0.5
    expected = air.infer(x.astype(np.uint8) * 255)
    for images in (x, torch.from_numpy(x), x.tolist(), x.astype(float)):
        assert same(air.infer(images), expected)


def test_uint8_floats_arrays_and_lists_are_the_same_images():
    air = tiny()
    pixels = torch.randint(0, 256, (3, 6, 6), dtype=torch.uint8)
    expected = air.infer(pixels)
    for images in (pixels.numpy(), pixels.float() / 255, (pixels.double() / 255).numpy()):
        other = air.infer(images)
        torch.testing.assert_close(other.z_where, expected.z_where)
        assert other.reconstruction.dtype == torch.float32


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(6, 6), r"\(N, 6, 6\), N at least 1, got \(6, 6\)"),
        (torch.zeros(0, 6, 6), r"N at least 1, got \(0, 6, 6\)"),
        (torch.zeros(2, 5, 6), r"got \(2, 5, 6\)"),
        (torch.zeros(2, 6, 6, dtype=torch.int64), "uint8, bool, or floats"),
        (torch.eye(6, dtype=torch.uint8)[None], "0 and 1 alone; multiply them by 255, or .*bool"),
        (np.ones((2, 6, 6), np.uint8), "got 0 and 1 alone"),
        (torch.full((2, 6, 6), 1.5), "divide by 255"),
        (torch.full((2, 6, 6), torch.nan), "finite"),
        (np.full((2, 6, 6), -0.1), "in \\[0, 1\\]"),
    ],
)
def test_bad_images(images, message):
    with pytest.raises(ValueError, match=message):
        tiny().infer(images)


def test_bad_num_steps():
    with pytest.raises(ValueError, match="num_steps must be 1 or more, got 0"):
        tiny().infer(torch.zeros(1, 6, 6), 0)


def test_to_unit():
    levels = torch.arange(256, dtype=torch.uint8)
    unit = to_unit(levels, "cpu")
    assert unit.dtype == torch.float32
    assert torch.equal(unit, torch.arange(256) / 255)
    floats = torch.rand(3, 4, 4)
    assert torch.equal(to_unit(floats, "cpu"), floats)


def test_nearly_black_scenes_are_looked_at_where_a_users_bytes_are_refused():
    scenes = torch.zeros(2, 6, 6, dtype=torch.uint8)
    scenes[0, 2, 3] = 1
    assert tiny().infer_scenes(scenes).count.shape == (2,)
    with pytest.raises(ValueError, match="got 0 and 1 alone"):
        tiny().infer(scenes)
