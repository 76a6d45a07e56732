"""A step has one order, however it was recorded, and computes the same in it."""

import torch
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx

from air.acceleration.ordering import in_order


def ordered(program, *inputs):
    with torch.random.fork_rng():
        recording = make_fx(program)(*inputs)
    return GraphModule(recording, in_order(recording))


def test_what_is_independent_may_have_been_recorded_in_any_order():
    def one_way(x, y):
        first = x.exp() + y
        second = y.sin() * x
        return [first, second]

    def other_way(x, y):
        sin = y.sin()
        exp = x.exp()
        unused = exp + sin
        assert unused.shape
        second = sin * x
        return [exp + y, second]

    inputs = torch.rand(3), torch.rand(3)
    one, other = ordered(one_way, *inputs), ordered(other_way, *inputs)
    assert str(one.graph) == str(other.graph)
    assert all(map(torch.equal, other(*inputs), one_way(*inputs)))


def test_draws_and_writes_keep_their_order():
    def program(x):
        total = x.clone()
        early = total + 1
        noise = torch.randn_like(x)
        total += torch.rand_like(x)
        late = total + 1
        total *= 2
        return [late * noise, total, early]

    x = torch.rand(3)
    step = ordered(program, x)
    torch.manual_seed(0)
    expected = program(x)
    torch.manual_seed(0)
    assert all(map(torch.equal, step(x), expected))
