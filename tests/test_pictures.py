"""Pictures: what is drawn lies where it should."""

import numpy as np
import torch
from matplotlib import image as matplotlib_image

from air.pictures import save_prior_samples, save_reconstructions, tracked_reconstructions
from tests.models import tiny


def test_reconstructions_hold_inputs_above_reconstructions(tmp_path):
    air = tiny()
    images = torch.zeros(3, 6, 6)
    images[1] = 1
    save_reconstructions(tmp_path / "pictures" / "r.png", air, images, torch.tensor([0, 1, 2]))
    drawn = matplotlib_image.imread(tmp_path / "pictures" / "r.png")[..., :3]
    height, width = drawn.shape[:2]
    # In the upper row the middle input is white, its neighbours are black.
    row = drawn[int(height * 0.35), :, :].mean(-1)
    assert row[int(width * 0.5)] > 0.9
    assert row[int(width * 0.18)] < 0.1
    assert row[int(width * 0.83)] < 0.1


def test_prior_samples_are_the_same_each_time_and_leave_the_random_state_alone(tmp_path):
    air = tiny()
    state = torch.get_rng_state()
    for name in ("a.png", "b.png"):
        save_prior_samples(tmp_path / name, air, 4, lambda t: 0.9)
    assert torch.equal(torch.get_rng_state(), state)
    a, b = (matplotlib_image.imread(tmp_path / name) for name in ("a.png", "b.png"))
    assert np.array_equal(a, b)
    assert a.std() > 0


def test_tracked_pictures_pair_input_and_reconstruction_with_boxes():
    air = tiny()
    images = torch.randint(0, 256, (5, 6, 6), dtype=torch.uint8)
    result = air.infer(images)
    for i, picture in enumerate(tracked_reconstructions(air, images)):
        assert picture.image.shape == (6, 12)
        assert np.array_equal(picture.image[:, :6], images[i].numpy())
        expected = (result.reconstruction[i].clamp(0, 1) * 255).round().byte().numpy()
        assert np.array_equal(picture.image[:, 6:], expected)
        assert [box.step for box in picture.boxes] == list(range(int(result.count[i])))
        for box in picture.boxes:
            assert [box.x0, box.y0, box.x1, box.y1] == result.boxes[i, box.step].tolist()
