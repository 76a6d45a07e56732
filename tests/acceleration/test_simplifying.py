"""A recording gets shorter and stays the same."""

import torch
from torch.fx.experimental.proxy_tensor import make_fx

from air.acceleration.simplifying import bind, simplify


def recorded(function, *inputs):
    recording = make_fx(function)(*inputs)
    recording.graph.eliminate_dead_code()
    return recording


def simplified(function, *inputs):
    recording = recorded(function, *inputs)
    simplify(recording)
    bind(recording)
    recording.recompile()
    return recording


def num_calls(recording):
    return len([node for node in recording.graph.nodes if node.op == "call_function"])


def test_what_depends_on_no_input_is_computed_once():
    def function(x):
        return x + (torch.arange(3.0) * 2 - 1).unsqueeze(0)

    recording = simplified(function, torch.rand(2, 3))
    assert num_calls(recording) == 1
    x = torch.rand(2, 3)
    assert torch.equal(recording(x), function(x))


def test_the_same_operation_on_the_same_tensors_is_done_once():
    def function(x, y):
        return (x * y).exp() + (x * y).sin() + (x * (y + 1)).sum([0], True)

    x, y = torch.rand(2, 3), torch.rand(2, 3)
    recording = simplified(function, x, y)
    assert num_calls(recorded(function, x, y)) - num_calls(recording) == 1
    assert torch.equal(recording(x + 1, y), function(x + 1, y))


def test_aliases_go():
    def function(x):
        return torch.ops.aten.alias(torch.ops.aten.alias(x) * 2) + 1

    recording = simplified(function, torch.rand(2))
    assert num_calls(recording) == 2


def test_every_draw_stays_a_draw():
    def function(x):
        return torch.rand_like(x) - torch.rand_like(x), torch.bernoulli(x) - torch.bernoulli(x)

    x = torch.full((50,), 0.5)
    recording = simplified(function, x)
    torch.manual_seed(1)
    one = recording(x)
    torch.manual_seed(1)
    assert all(torch.equal(a, b) for a, b in zip(one, function(x), strict=True))
    assert one[0].any()
    assert one[1].any()


def test_memory_that_is_written_to_is_left_alone():
    def function(x):
        y = x * 1
        first = y.view(-1)
        before = first + 1
        fresh = torch.zeros(2, 3)
        y.add_(1)
        fresh.view(-1).add_(y.view(-1)[0])
        return before, y.view(-1) + 1, fresh * 2

    x = torch.rand(2, 3)
    recording = simplified(function, x)
    for _ in range(2):  # a constant that is written to would differ the second time
        assert all(torch.equal(a, b) for a, b in zip(recording(x), function(x), strict=True))


def test_results_are_tensors_of_their_own():
    def function(x):
        return x * 2, x * 2, torch.ones(2) + 1

    x = torch.rand(2)
    recording = simplified(function, x)
    for result in recording(x):  # as a caller may write to them
        result.zero_()
    assert all(torch.equal(a, b) for a, b in zip(recording(x), function(x), strict=True))
