"""Learning rates, groups and the order of batches."""

import pytest
import torch

from air.training.batches import BatchOrder
from air.training.config import OptimConfig
from air.training.optim import (
    build_optimizer,
    build_scheduler,
    learning_rate_factor,
    restore_optimizer,
)
from tests.helpers.models import tiny


def config(**changes):
    values = {"lr": 1e-3, "baseline_lr": 0.1, "schedule": "constant", "warmup_iterations": 0}
    return OptimConfig(**{**values, "clip_norm": None, **changes})


@pytest.mark.parametrize(
    ("schedule", "middle", "end"), [("constant", 1, 1), ("linear", 0.5, 0), ("cosine", 0.5, 0)]
)
def test_schedules(schedule, middle, end):
    factors = [learning_rate_factor(config(schedule=schedule), 100, i) for i in (0, 50, 100, 120)]
    assert factors == pytest.approx([1, middle, end, end])


def test_warmup_rises_to_the_whole_rate_and_the_rest_follows():
    warm = config(schedule="linear", warmup_iterations=10)
    factors = [learning_rate_factor(warm, 110, i) for i in range(111)]
    assert factors[:11] == pytest.approx([(i + 1) / 11 for i in range(10)] + [1])
    assert factors[60] == pytest.approx(0.5)
    assert factors[110] == 0


def test_baseline_has_its_own_rate_and_every_parameter_is_in_one_group():
    air = tiny(use_baselines=True)
    optimizer = build_optimizer(config(schedule="linear"), air)
    scheduler = build_scheduler(config(schedule="linear"), optimizer, 10)
    assert scheduler.get_last_lr() == [1e-3, 0.1]
    groups = [{id(p) for p in group["params"]} for group in optimizer.param_groups]
    assert groups[1] == {id(p) for p in air.guide.baseline.parameters()}
    assert not groups[0] & groups[1]
    assert groups[0] | groups[1] == {id(p) for p in air.parameters()}
    assert len(build_optimizer(config(), tiny()).param_groups) == 1


def test_a_schedule_built_half_way_goes_on_and_takes_new_rates():
    def after(steps, scheduler, optimizer):
        for _ in range(steps):
            optimizer.step()
            scheduler.step()
        return scheduler.get_last_lr()

    warm = config(schedule="cosine", warmup_iterations=3)
    whole = build_optimizer(warm, tiny(use_baselines=True))
    rates = after(8, build_scheduler(warm, whole, 20), whole)
    resumed = build_optimizer(warm, tiny(use_baselines=True))
    restore_optimizer(resumed, whole.state_dict())
    assert build_scheduler(warm, resumed, 20, iteration=8).get_last_lr() == rates
    faster = config(schedule="cosine", warmup_iterations=3, lr=3e-3)
    changed = build_optimizer(faster, tiny(use_baselines=True))
    restore_optimizer(changed, whole.state_dict())
    new_rates = build_scheduler(faster, changed, 20, iteration=8).get_last_lr()
    assert new_rates == pytest.approx([3 * rates[0], rates[1]])


def test_every_epoch_sees_every_image_once_in_another_order():
    order = BatchOrder(12, 4, seed=0)
    epochs = [torch.cat([order.indices(3 * e + b) for b in range(3)]) for e in range(3)]
    for epoch in epochs:
        assert sorted(epoch.tolist()) == list(range(12))
    assert not torch.equal(epochs[0], epochs[1])


def test_batches_depend_on_seed_and_iteration_alone():
    one, other = BatchOrder(50, 8, seed=3), BatchOrder(50, 8, seed=3)
    other.indices(40)
    for iteration in (13, 2, 7):
        assert torch.equal(one.indices(iteration), other.indices(iteration))
    assert not torch.equal(one.indices(0), BatchOrder(50, 8, seed=4).indices(0))
    assert len(BatchOrder(50, 8, seed=0).indices(5)) == 8
