"""An estimator whose value is not likelihood less KLs trains with nothing else of ours changed."""

import math

import pyro
import pytest
import torch
from pyro import poutine

from air.acceleration.recording import RecordedGradients
from air.benchmark.workloads import example_data
from air.cli.compose import compose_config
from air.errors import ConfigError
from air.evaluation.bound import log_weights
from air.inference.estimator import Estimate, SurrogateELBO
from air.inference.marginal import MarginalELBO
from air.inference.objective import Objective
from air.inference.sleep import SleepPhase
from air.model.config import ImageConfig
from air.tracking.jsonl import JSONLTracker, read_metrics
from air.training.gradients import EagerGradients
from air.training.signals import Interruption
from air.training.trainer import Trainer
from tests.helpers.compiler import needs_a_compiler
from tests.helpers.gradients import taken
from tests.helpers.models import tiny

PRIOR = {"z_pres_prior_p": lambda t: (0.6, 0.3)[t]}


class Constant:
    """A term that is always the same."""

    name, weight = "constant", 3.0

    def __call__(self, air, images, path=None):
        return torch.tensor(2.0)


@pytest.mark.parametrize("background", [None, ImageConfig("image", plain=True)])
def test_all_but_the_likelihood_counts_as_much_as_asked(background):
    air, batch = tiny(background=background), torch.rand(4, 6, 6)
    probabilities = torch.tensor([0.6, 0.3])

    def weighted(*weight):
        torch.manual_seed(1)
        objective = Objective(MarginalELBO(), [Constant()], ["rest_weight"][: len(weight)])
        loss, metrics, _ = objective(air, batch, probabilities, *weight)
        return loss, metrics, torch.autograd.grad(loss, list(air.parameters()), allow_unused=True)

    whole, parts, gradient = weighted()
    none, _, likelihood_gradient = weighted(torch.tensor(0.0))
    part, part_metrics, part_gradient = weighted(torch.tensor(0.25))
    torch.testing.assert_close(none, -parts["likelihood"])
    torch.testing.assert_close(part, 0.25 * whole + 0.75 * none)
    torch.testing.assert_close(part_metrics["kl_what"], 0.25 * parts["kl_what"])
    for one, first, last in zip(part_gradient, likelihood_gradient, gradient, strict=True):
        if last is not None:
            torch.testing.assert_close(one, 0.75 * first + 0.25 * last)


@pytest.mark.parametrize(
    "compiled", [False, pytest.param(True, marks=[pytest.mark.slow, needs_a_compiler])]
)
def test_a_recording_takes_the_weight_of_each_iteration(compiled):
    air, batch, probabilities = tiny(), torch.rand(4, 6, 6), torch.tensor([0.6, 0.3])
    objective = Objective(MarginalELBO(), scheduled=["rest_weight"])
    recorded = RecordedGradients(objective, air, compiled=compiled)
    for weight in (0.25, 0.5, 1.0):
        settings = probabilities, torch.tensor(weight)
        torch.manual_seed(1)
        played = recorded(batch, *settings)["loss"]
        torch.manual_seed(1)
        torch.testing.assert_close(played, objective(air, batch, *settings).loss)


def test_the_weight_rises_in_a_straight_line_and_stays():
    warm_up = ("inference.warm_up_start=0.2", "inference.warm_up_iterations=100")
    inference = compose_config(warm_up).inference
    weights = [inference.scheduled(i)["rest_weight"] for i in (0, 50, 100, 900)]
    assert weights == pytest.approx([0.2, 0.6, 1, 1])
    assert compose_config(()).inference.scheduled(0) == {}
    for wrong in (
        "inference.warm_up_start=0",
        "inference.warm_up_start=1.5",
        "inference.warm_up_iterations=-1",
    ):
        with pytest.raises(ConfigError, match=wrong.partition("=")[0]):
            compose_config((wrong,))


class ImportanceBound(SurrogateELBO):
    """E log (1/K) Σ_k p(x, z_k) / q(z_k | x) (Burda et al., 2016), with a score of every z_pres."""

    def __init__(self, num_draws):
        super().__init__()
        self.num_draws = num_draws

    def estimate(self, model, guide, *args, **kwargs):
        draws = [self.draw(model, guide, args, kwargs) for _ in range(self.num_draws)]
        weights, log_q = (torch.stack(each) for each in zip(*draws, strict=True))  # (K, N) each
        bound = weights.logsumexp(0) - math.log(self.num_draws)  # (N,)
        score = bound.detach() * log_q.sum(0)
        loss = -(bound + score - score.detach()).sum()
        metrics = {"bound": bound.detach().sum(), "best_weight": weights.detach().amax(0).sum()}
        return Estimate(loss, metrics)

    def draw(self, model, guide, args, kwargs):
        """Return log p(x, z) - log q(z) and log q(z_pres) of one draw of each image, (N,) each."""
        q = poutine.trace(guide).get_trace(*args, **kwargs)
        p = poutine.trace(poutine.replay(model, trace=q)).get_trace(*args, **kwargs)
        weight, log_q = 0.0, 0.0
        for trace, sign in ((p, 1), (q, -1)):
            trace.compute_log_prob()
            for name in trace.stochastic_nodes + trace.observation_nodes:
                weight = weight + sign * trace.nodes[name]["log_prob"]
                if sign < 0 and name.startswith("z_pres"):
                    log_q = log_q + trace.nodes[name]["log_prob"]
        return weight, log_q


def objective():
    sleep = SleepPhase(0.5, 3, max_objects=2)
    return Objective(ImportanceBound(2), [sleep])


def test_its_bound_lies_between_the_elbo_and_the_evidence():
    air, image = tiny(), torch.rand(6, 6)
    images = image.expand(1000, -1, -1)
    evidence = log_weights(air, image, 20_000, **PRIOR).logsumexp(0).item() - math.log(20_000)
    elbo = -MarginalELBO().loss(air.model, air.guide, images, **PRIOR) / 1000
    bounds = [
        -ImportanceBound(num).loss(air.model, air.guide, images, **PRIOR) / 1000 for num in (2, 10)
    ]
    assert elbo + 0.1 < bounds[0] < bounds[1] - 0.1 < evidence - 0.1


def test_it_is_the_loss_of_pyros_svi():
    air, images = tiny(), torch.rand(4, 6, 6)
    svi = pyro.infer.SVI(air.model, air.guide, pyro.optim.Adam({"lr": 0.01}), ImportanceBound(3))
    before = [parameter.detach().clone() for parameter in air.parameters()]
    assert math.isfinite(svi.step(images))
    assert any(map(torch.ne, map(torch.sum, before), map(torch.sum, air.parameters())))


def test_the_objective_adds_its_terms_to_whatever_the_estimator_says():
    air, images = tiny(), torch.rand(5, 6, 6)
    estimate = objective()(air, images, torch.tensor([0.6, 0.3], dtype=torch.float64))
    assert list(estimate.metrics) == ["loss", "bound", "best_weight", "sleep"]
    expected = 0.5 * estimate.metrics["sleep"] - estimate.metrics["bound"]
    torch.testing.assert_close(estimate.metrics["loss"], expected)
    torch.testing.assert_close(estimate.loss.detach(), expected)


def test_it_is_recorded():
    air, batches = tiny(num_steps=1), torch.rand(2, 5, 6, 6)  # recording takes time for each step
    played, after = taken(RecordedGradients(objective(), air), air, batches)
    run, after_run = taken(EagerGradients(objective(), air), air, batches)
    assert after == after_run
    for (parts, grads), (other_parts, other_grads) in zip(played, run, strict=True):
        assert parts == other_parts
        assert all(map(torch.equal, grads, other_grads))


def test_a_whole_training_logs_what_it_is_made_of(tmp_path):
    small = ("train.num_iterations=3", "train.log_every=1", "train.batch_size=4")
    small += ("train.num_pictures=0", "train.step=eager")
    config = compose_config(("experiment=smoke", *small))
    data = example_data(config.data, 16)
    air = config.build_model(data.train.x_size)
    tracker = JSONLTracker(tmp_path / "metrics.jsonl", None)
    trainer = Trainer(config, air, objective(), data, tmp_path, tracker)
    outcome = trainer.fit(Interruption())
    tracker.finish(0)
    lines = [line for line in read_metrics(tmp_path / "metrics.jsonl") if "train/loss" in line]
    assert [line["iteration"] for line in lines] == [1, 2, 3]
    for line in lines:
        expected = 0.5 * line["train/sleep"] - line["train/bound"]
        assert line["train/loss"] == pytest.approx(expected, rel=1e-5)
        assert line["train/best_weight"] >= line["train/bound"]
    assert math.isfinite(outcome.evaluation.elbo_parts["elbo"])  # evaluated as every model is
