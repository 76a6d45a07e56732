"""What a new kind of attention or of compositing can count on."""

import copy

import pytest
import torch
from pyro import poutine
from torch import nn

from air.model.attention.recurrent import RecurrentAttention
from air.model.compositing.sum import Sum
from tests.helpers.models import tiny


class Remembering(RecurrentAttention):
    """The recurrent attention, which keeps what it is given."""

    def start(self, images, background, render):
        self.given = images, background, render
        return super().start(images, background, render)


class Faded(Sum):
    """Objects add up, all as bright as is learned."""

    def __init__(self):
        super().__init__()
        self.brightness = nn.Parameter(torch.tensor(0.5))

    def forward(self, z_pres, layers, background):
        return super().forward(z_pres, layers * self.brightness, background)


class RememberingChoice:
    def build(self, sizes, z_where_prior):
        return Remembering(sizes, z_where_prior)


class FadedChoice:
    def check(self, decoder_output_use_sigmoid):
        assert decoder_output_use_sigmoid

    def build(self, sizes):
        return Faded()


@pytest.mark.parametrize("copied", [False, True])
def test_an_attention_is_given_what_the_model_makes_of_objects(copied):
    air, images = tiny(attention=RememberingChoice()), torch.rand(3, 6, 6)
    air = copy.deepcopy(air) if copied else air
    air.guide(images)
    given, background, render = air.guide.attention.given
    assert torch.equal(given, images.unsqueeze(1))
    assert background is None
    objects, _ = air.model.draw(3, lambda t: 0.5)
    with torch.no_grad():
        air.decode.mlp.layers[-1].bias += 1  # of this model, not of the one it was copied from
    assert torch.equal(render(objects, None), air.model.render(objects))


def test_the_guide_has_no_parameters_of_the_model():
    air = tiny(attention=RememberingChoice())
    model = {id(parameter) for parameter in air.model.parameters()}
    assert not any(id(parameter) in model for parameter in air.guide.parameters())


def test_pyro_knows_the_parameters_of_a_compositing():
    air = tiny(compositing=FadedChoice())
    trace = poutine.trace(air.model).get_trace(torch.rand(3, 6, 6))
    assert (
        trace.nodes["compositing$$$brightness"]["value"] is air.model.canvas.compositing.brightness
    )
