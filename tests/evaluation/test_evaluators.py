"""Every metric of an evaluation against a case worked out by hand, or a library."""

import math
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from air.config.parsing import parse_as
from air.data.scenes import Scenes
from air.errors import ConfigError, NotKnownError
from air.evaluation.bound import bound, importance_bound, log_weights
from air.evaluation.boxes import boxes, matched, tight_boxes
from air.evaluation.config import EvaluateConfig, EvaluatorName
from air.evaluation.counts import counts
from air.evaluation.downstream import latent_code, tasks, two_digit_scenes
from air.evaluation.elbo import elbo
from air.evaluation.evaluate_run import metrics_table
from air.evaluation.generalisation import scaled
from air.evaluation.held_out import elbo_parts
from air.evaluation.interval import interval
from air.evaluation.plain_vae import PlainVAE, train_vae
from air.evaluation.reconstruction import reconstruction
from air.evaluation.segmentation import matched_overlaps, segmentation
from air.evaluation.subject import Subject, infer_in_batches, load_evaluator
from air.model.likelihood.bernoulli import BernoulliLikelihood
from air.model.likelihood.normal import LearnedNormalLikelihood, NormalLikelihood
from air.model.posterior import Posterior
from air.runs.trained import TrainedRun
from tests.helpers.models import tiny
from tests.helpers.options import values_of


def evaluate_config(**changes):
    return parse_as(EvaluateConfig, {**values_of("evaluate"), "run": "nowhere", **changes})


@pytest.mark.parametrize("name", get_args(EvaluatorName))
def test_every_evaluator_is_the_function_of_its_name(name):
    assert load_evaluator(name).__name__ == name


def posterior_of(
    count_probs, boxes=None, z_where=None, z_what=None, reconstruction=None, parts=None
):
    n, num_steps = count_probs.shape[0], count_probs.shape[1] - 1
    count = count_probs.argmax(-1)
    return Posterior(
        count=count,
        count_probs=count_probs,
        z_pres=(torch.arange(num_steps) < count.unsqueeze(-1)).float(),
        z_where=torch.zeros(n, num_steps, 3) if z_where is None else z_where,
        z_what=torch.zeros(n, num_steps, 2) if z_what is None else z_what,
        boxes=torch.zeros(n, num_steps, 4) if boxes is None else boxes,
        reconstruction=torch.zeros(n, 6, 6) if reconstruction is None else reconstruction,
        segmentation=torch.zeros(n, 6, 6) if parts is None else parts,
        background=None,
    )


def subject_of(scenes, posterior, model=None, **changes):
    run = TrainedRun("nowhere", None, model or tiny(), 1, lambda t: 0.4)
    return Subject(run, scenes, posterior, evaluate_config(**changes))


def blank(n):
    return torch.zeros(n, 6, 6)


def test_counts_of_four_images():
    """Sure and right, sure and wrong, three quarters sure and right twice."""
    probs = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.25, 0.75], [0.0, 0.75, 0.25]])
    scenes = Scenes(blank(4), torch.tensor([0, 2, 2, 1]), None, None)
    metrics = dict(counts(subject_of(scenes, posterior_of(probs))))
    assert metrics["accuracy"] == 0.75
    assert metrics["accuracy_low"] <= 0.75 <= metrics["accuracy_high"]
    assert (metrics["accuracy_at_0"], metrics["accuracy_at_1"]) == (1.0, 1.0)
    assert metrics["accuracy_at_2"] == 0.5
    assert metrics["confusion"] == [[1, 0, 0], [0, 1, 0], [0, 1, 1]]
    # In bins: two of confidence 1, one right; two of 0.75, both right.
    assert metrics["calibration_error"] == pytest.approx(0.5 * 0.5 + 0.5 * 0.25)
    assert metrics["reliability"] == [pytest.approx([0.75, 1.0]), pytest.approx([1.0, 0.5])]


def test_a_sampled_count_is_right_as_often_as_q_says():
    probs = torch.tensor([[0.1, 0.7, 0.2]]).expand(20_000, -1)
    scenes = Scenes(blank(1).expand(20_000, -1, -1), torch.full((20_000,), 2), None, None)
    metrics = dict(counts(subject_of(scenes, posterior_of(probs))))
    assert metrics["accuracy"] == 0
    assert metrics["accuracy_of_a_sample"] == pytest.approx(0.2, abs=4 * math.sqrt(0.16 / 20_000))


def test_more_objects_than_the_model_has_steps_are_mistakes():
    probs = torch.tensor([[0.0, 0.1, 0.9]])
    scenes = Scenes(blank(1), torch.tensor([4]), None, None)
    metrics = dict(counts(subject_of(scenes, posterior_of(probs))))
    assert metrics["accuracy"] == 0
    assert metrics["confusion"][4] == [0, 0, 1, 0, 0]


def test_interval_is_that_of_the_binomial():
    values = np.repeat([0.0, 1.0], [200, 800])
    low, high = interval(values, 0)
    sd = math.sqrt(0.8 * 0.2 / 1000)
    assert low == pytest.approx(0.8 - 1.96 * sd, abs=0.006)
    assert high == pytest.approx(0.8 + 1.96 * sd, abs=0.006)
    assert interval(np.ones(50), 0) == (1.0, 1.0)
    assert interval(np.ones(1), 0) == (1.0, 1.0)


def test_importance_bound_by_hand():
    weights = torch.tensor([1.0, 3.0, 2.0, 2.0]).log()
    assert importance_bound(weights, 1) == pytest.approx(math.log(12) / 4)
    assert importance_bound(weights, 2) == pytest.approx(math.log(2))
    assert importance_bound(weights, 4) == pytest.approx(math.log(2))


def test_with_one_sample_the_bound_is_the_elbo_and_more_raise_it():
    model = tiny(num_steps=2)
    torch.manual_seed(0)
    image, prior = torch.rand(6, 6), lambda t: (0.6, 0.3)[t]
    weights = log_weights(model, image, 4000, prior)
    assert weights.shape == (4000,)
    elbo = elbo_parts(model, image.expand(4000, -1, -1), prior)["elbo"]
    error = weights.std().item() / math.sqrt(4000)
    assert weights.mean().item() == pytest.approx(elbo, abs=5 * error)
    bounds = [importance_bound(weights, k) for k in (1, 10, 100, 1000)]
    assert bounds == sorted(bounds)


def test_importance_weights_average_to_the_evidence():
    """E_q[p(x, z) / q(z)] = p(x): two guides, here before and after a change, agree on it."""
    evidence = []
    for bias in (0.0, 1.0):
        torch.manual_seed(1)
        model = tiny(num_steps=1, likelihood_sd=2.0)
        with torch.no_grad():
            model.predict.mlp.layers[-1].bias[0] += bias
            # A guide wider than the prior: weights of a narrow one have no variance.
            model.predict.mlp.layers[-1].bias[4:] += 1.0
            model.encode.mlp.layers[-1].bias[2:] += 1.0
        torch.manual_seed(2)
        weights = log_weights(model, torch.full((6, 6), 0.3), 20_000, lambda t: 0.5)
        evidence.append(importance_bound(weights, 20_000))
    assert evidence[0] == pytest.approx(evidence[1], abs=0.02)


def test_the_bound_needs_no_more_memory_for_more_samples():
    model, together = tiny(num_steps=2), []
    model.guide.register_forward_pre_hook(lambda _, inputs: together.append(len(inputs[0])))
    assert log_weights(model, torch.rand(6, 6), 1200, lambda t: 0.5).shape == (1200,)
    assert together == [500, 500, 200]


def test_bound_takes_each_image_with_its_own_noise():
    torch.manual_seed(0)
    images, probs = torch.rand(3, 6, 6), torch.ones(3, 3) / 3
    settings = {"num_samples": [1, 20], "num_images": 10}
    subject = subject_of(
        Scenes(images, None, None, None), posterior_of(probs), tiny(), bound=settings
    )
    metrics = dict(bound(subject))
    alone = [
        dict(bound(subject_of(Scenes(images[: i + 1], None, None, None), posterior_of(probs),
                              subject.run.air, bound=settings)))["k_20"]
        for i in range(3)
    ]  # fmt: skip
    assert metrics["num_images"] == 3
    assert metrics["k_20"] == alone[2]
    assert metrics["k_20"] >= metrics["k_1"]
    with pytest.raises(ConfigError, match=r"bound.num_samples: each must divide the largest, 20"):
        evaluate_config(bound={**settings, "num_samples": [3, 20]})


def test_reconstruction_of_a_known_error():
    images = torch.zeros(2, 6, 6)
    images[1] = 1.0
    canvases = images.clone()
    canvases[1] -= 0.1
    scenes = Scenes(images, None, None, None)
    posterior = posterior_of(torch.ones(2, 3) / 3, reconstruction=canvases)
    metrics = dict(reconstruction(subject_of(scenes, posterior)))
    assert metrics["squared_error"] == pytest.approx(0.005)
    assert metrics["psnr"] == pytest.approx(-10 * math.log10(0.005), rel=1e-4)
    # Of a uniform image only the means count: (2ab + c) / (a² + b² + c), c = 0.01²; black is black.
    assert metrics["ssim"] == pytest.approx((1 + (1.8 + 1e-4) / (1.81 + 1e-4)) / 2, abs=1e-4)
    same = posterior_of(torch.ones(2, 3) / 3, reconstruction=images)
    assert dict(reconstruction(subject_of(scenes, same)))["ssim"] == pytest.approx(1.0)


def test_matching_is_the_best_one():
    """One true box is hit twice; the second is met by neither at IoU 0.5."""
    truth = [torch.tensor([[0.0, 0.0, 10.0, 10.0], [20.0, 0.0, 30.0, 10.0]])]
    found = [torch.tensor([[22.0, 0.0, 32.0, 10.0], [0.0, 0.0, 10.0, 5.0], [0.0, 0.0, 10.0, 10.0]])]
    metrics = matched(found, truth)
    assert metrics["mean_iou"] == pytest.approx((1 + 8 / 12) / 2)
    assert (metrics["precision"], metrics["recall"]) == (pytest.approx(2 / 3), 1.0)
    nothing = matched([torch.zeros(0, 4)], truth)
    assert math.isnan(nothing["precision"])
    assert nothing["recall"] == 0


def test_tight_boxes_hold_the_bright_pixels():
    objects = torch.zeros(1, 2, 8, 8)
    objects[0, 0, 2:5, 3:7] = 0.9
    windows = torch.tensor([[[1.0, 1.0, 8.0, 8.0], [0.0, 0.0, 4.0, 4.0]]])
    tight = tight_boxes(objects, windows, 0.25)
    assert tight[0].tolist() == [[3, 2, 7, 5], [0, 0, 4, 4]]  # nothing bright: the window


def test_boxes_that_are_right_have_full_marks():
    true = torch.tensor([[[0.0, 0.0, 3.0, 3.0], [3.0, 3.0, 6.0, 6.0]]])
    probs = torch.tensor([[0.0, 0.0, 1.0]])
    scenes = Scenes(blank(1), None, None, true)
    metrics = dict(boxes(subject_of(scenes, posterior_of(probs, boxes=true.flip(1)))))
    assert metrics["mean_iou"] == metrics["precision"] == metrics["recall"] == 1.0
    assert metrics["average_precision"] == metrics["average_precision_50"] == pytest.approx(1.0)
    assert box_iou(true[0], true[0]).diagonal().tolist() == [1.0, 1.0]


def test_average_precision_of_a_surer_mistake():
    """The surest window of two is wrong, so precision is 1/2 at all recalls up to 1/2, then 0."""
    true = torch.tensor([[[0.0, 0.0, 3.0, 3.0]], [[0.0, 0.0, 3.0, 3.0]]])
    found = torch.tensor([[[0.0, 0.0, 3.0, 3.0]], [[3.0, 3.0, 6.0, 6.0]]])
    probs = torch.tensor([[0.3, 0.7], [0.1, 0.9]])
    scenes = Scenes(blank(2), None, None, true)
    metrics = dict(boxes(subject_of(scenes, posterior_of(probs, boxes=found), tiny(num_steps=1))))
    assert (metrics["precision"], metrics["recall"], metrics["mean_iou"]) == (0.5, 0.5, 0.5)
    # COCO reads precision off at the 101 recalls 0, 0.01, … 1, of which 51 are up to 1/2.
    assert metrics["average_precision_50"] == pytest.approx(0.5 * 51 / 101, abs=1e-4)
    assert metrics["average_precision"] == pytest.approx(0.5 * 51 / 101, abs=1e-4)  # IoU is 1 or 0


def test_figures_are_the_same_for_any_batch_size():
    """With objects in the images, which a barely trained model might not find."""
    torch.manual_seed(3)
    model = tiny(num_steps=2, x_size=20, window_size=6, scale_prior_mean=3.0)
    images = (torch.rand(11, 20, 20) * 255).byte()
    corner = torch.rand(11, 2, 2) * 12
    truth = torch.cat((corner, corner + 6), -1)
    masks = torch.zeros(11, 20, 20, dtype=torch.long)
    masks[:, :10, :5], masks[:, 12:, 8:] = 1, 2
    scenes = Scenes(images, torch.arange(11) % 3, None, truth, masks)
    probs = torch.eye(3)[torch.arange(11) % 3]
    metrics = []
    for batch_size in (11, 4, 1):
        config = evaluate_config(batch_size=batch_size)
        found = replace(
            infer_in_batches(model, images, config, "inferring"),
            count_probs=probs,
            count=probs.argmax(-1),
            z_pres=(torch.arange(2) < probs.argmax(-1, keepdim=True)).float(),
        )
        subject = subject_of(scenes, found, model, batch_size=batch_size)
        metrics.append(
            {
                f"{evaluator.__name__}/{name}": value
                for evaluator in (counts, elbo, reconstruction, boxes, segmentation)
                for name, value in evaluator(subject)
            }
        )
    assert metrics[0]["boxes/mean_iou"] > 0
    for others in metrics[1:]:
        assert others.keys() == metrics[0].keys()
        for name, value in others.items():
            np.testing.assert_allclose(value, metrics[0][name], rtol=1e-5, atol=1e-6, err_msg=name)


def halves(*numbers):
    """An image of as many parts, one below the other, with these numbers."""
    return torch.tensor(numbers).repeat_interleave(2).unsqueeze(-1).expand(-1, 6)


def segmented(masks, parts):
    scenes = Scenes(torch.zeros(1, 6, 6), None, None, None, masks.unsqueeze(0))
    posterior = posterior_of(torch.tensor([[0.0, 0.0, 1.0]]), parts=parts.unsqueeze(0))
    return dict(segmentation(subject_of(scenes, posterior)))


def test_segmentation_is_perfect_whatever_the_numbers_of_objects():
    metrics = segmented(halves(0, 7, 4), halves(0, 1, 2))
    assert metrics == {"foreground_ari": 1.0, "mean_iou": 1.0}


def test_segmentation_that_misses_an_object_is_no_better_than_chance():
    metrics = segmented(halves(0, 7, 4), halves(0, 1, 1))
    assert metrics == {"foreground_ari": 0.0, "mean_iou": 0.25}  # a half of one, none of the other


def test_each_true_object_has_its_best_match_alone():
    true, inferred = halves(1, 2, 0), halves(3, 3, 5)
    torch.testing.assert_close(matched_overlaps(true, inferred), torch.tensor([0.5, 0.0]))
    assert matched_overlaps(halves(0, 0, 0), inferred).shape == (0,)
    assert matched_overlaps(true, halves(0, 0, 0)).tolist() == [0.0, 0.0]


def test_what_is_not_known_is_said():
    scenes, posterior = Scenes(blank(1), None, None, None), posterior_of(torch.ones(1, 3) / 3)
    for evaluator, missing in ((counts, "no counts"), (boxes, "no boxes"), (segmentation, "masks")):
        with pytest.raises(NotKnownError, match=missing):
            list(evaluator(subject_of(scenes, posterior)))
    with pytest.raises(NotKnownError, match="labels"):
        two_digit_scenes(scenes)


def test_the_table_has_intervals_beside_their_figures_and_names_over_matrices():
    text = metrics_table(
        {
            "counts/accuracy": 0.5,
            "counts/accuracy_low": 0.25,
            "counts/accuracy_high": 0.75,
            "bound/num_images": 200,
            "counts/reliability": [[0.9, 1.0]],
            "counts/confusion": [[3, 1], [0, 2]],
        }
    )
    lines = [line.split() for line in text.splitlines()]
    assert lines[0] == ["metric", "value", "from", "to", "(95", "%)"]
    assert lines[2:4] == [
        ["counts/accuracy", "0.5000", "0.2500", "0.7500"],
        ["bound/num_images", "200"],
    ]
    assert ["confidence", "accuracy"] in lines
    assert ["true", "\\", "inferred", "0", "1"] in lines
    assert lines[-2:] == [["0", "3", "1"], ["1", "0", "2"]]
    assert metrics_table({"elbo/elbo": 1.0}).split() == [
        "metric",
        "value",
        *["-" * 9, "-" * 7],
        "elbo/elbo",
        "1.0000",
    ]


def test_a_plain_vae_tells_images_apart_without_labels():
    side = torch.arange(60) % 2
    images = torch.rand(60, 40) * 0.2
    images[:, :20] += 0.8 * side.unsqueeze(-1)
    state = torch.get_rng_state()
    likelihood = LearnedNormalLikelihood(0.3)
    vae = train_vae(images, 3, likelihood, seed=0)
    assert likelihood.metrics()["likelihood_sd"] == pytest.approx(0.3)  # the model's own stays
    assert vae.likelihood.metrics()["likelihood_sd"] != pytest.approx(0.3)
    assert torch.equal(torch.get_rng_state(), state)
    with torch.no_grad():
        codes = vae.encode(images).mean
        again = train_vae(images, 3, likelihood, seed=0).encode(images).mean
    assert torch.equal(codes, again)
    apart = (codes[side == 0].mean(0) - codes[side == 1].mean(0)).norm()
    assert apart > 3 * codes[side == 0].std(0).norm()


@pytest.mark.parametrize(
    ("likelihood", "expected"),
    [
        (NormalLikelihood(0.5), torch.distributions.Normal(0.5, 0.5)),
        (BernoulliLikelihood(0.01), torch.distributions.Bernoulli(0.5)),
    ],
)
def test_the_elbo_of_a_plain_vae_that_ignores_its_code_is_the_likelihood(likelihood, expected):
    vae = PlainVAE(4, 2, likelihood)
    with torch.no_grad():
        for layer in (vae.encoder[-1], vae.decoder[-2]):
            layer.weight.zero_()
            layer.bias.zero_()  # q(code) is the prior, and each pixel 1/2 whatever the code
    images = torch.rand(3, 4).round()
    torch.testing.assert_close(vae.elbo(images), expected.log_prob(images).sum(-1))


def test_scaling_keeps_what_is_uniform():
    images = torch.full((2, 12, 12), 51, dtype=torch.uint8)
    torch.testing.assert_close(scaled(images, 5), torch.full((2, 5, 5), 0.2))


def test_tasks_read_from_left_to_right():
    nan = float("nan")
    scenes = Scenes(
        blank(3),
        torch.tensor([2, 1, 2]),
        torch.tensor([[3, 8, -1], [5, -1, -1], [9, 9, -1]]),
        torch.tensor(
            [
                [[10.0, 0.0, 20.0, 9.0], [0.0, 0.0, 9.0, 9.0], [nan] * 4],
                [[0.0, 0.0, 9.0, 9.0], [nan] * 4, [nan] * 4],
                [[0.0, 0.0, 9.0, 9.0], [5.0, 0.0, 9.0, 9.0], [nan] * 4],
            ]
        ),
    )
    two, chosen = two_digit_scenes(scenes)
    assert chosen.tolist() == [0, 2]
    answers = tasks(two)
    assert answers["sum"].tolist() == [11, 18]
    assert answers["ascending"].tolist() == [0, 0]  # 8 stands left of 3; 9 and 9 are equal


def test_latents_are_taken_left_window_first():
    z_where = torch.arange(6.0).view(1, 2, 3)
    windows = torch.tensor([[[30.0, 0.0, 40.0, 9.0], [0.0, 0.0, 10.0, 9.0]]])
    posterior = posterior_of(torch.ones(1, 3) / 3, boxes=windows, z_where=z_where)
    assert latent_code(posterior, np.array([0]))[0].tolist() == [3, 4, 5, 0, 0, 0, 1, 2, 0, 0]
