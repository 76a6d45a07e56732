"""An estimator whose value is not likelihood less KLs trains with nothing else of ours changed."""

import math

import pyro
import pytest
import torch
from pyro import poutine

from air.acceleration.recording import RecordedGradients
from air.benchmark.workloads import example_data
from air.cli.compose import compose_config
from air.evaluation.bound import log_weights
from air.inference.estimator import Estimate, SurrogateELBO
from air.inference.marginal import MarginalELBO
from air.inference.objective import Objective
from air.inference.sleep import SleepPhase
from air.tracking.jsonl import JSONLTracker, read_metrics
from air.training.gradients import EagerGradients
from air.training.signals import Interruption
from air.training.trainer import Trainer
from tests.helpers.gradients import taken
from tests.helpers.models import tiny

PRIOR = {"z_pres_prior_p": lambda t: (0.6, 0.3)[t]}


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
