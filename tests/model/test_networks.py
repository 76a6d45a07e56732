"""The networks against torch's own, and their shapes."""

import pytest
import torch
from torch import nn

from air.model.networks import LSTM, MLP, Decoder, Embed, Encoder, Predict, non_linearity_layer


def test_lstm_equals_torch_lstm_cell():
    ours, theirs = LSTM(7, 4, 5), nn.LSTMCell(7 + 4, 5)
    with torch.no_grad():
        theirs.weight_ih.copy_(
            torch.cat((ours.from_embedding.T, ours.from_latents.weight[:, :4]), -1)
        )
        theirs.weight_hh.copy_(ours.from_latents.weight[:, 4:])
        theirs.bias_ih.zero_()
        theirs.bias_hh.copy_(ours.from_latents.bias)
    embedding, state = torch.randn(3, 7), (torch.randn(3, 5), torch.randn(3, 5))
    expected = state
    gates = ours.embedding_gates(embedding)
    for latents in torch.randn(4, 3, 4):
        state = ours(gates, latents, state)
        expected = theirs(torch.cat((embedding, latents), -1), expected)
    torch.testing.assert_close(state, expected)


def test_mlp_layers():
    def kinds(mlp):
        return [type(layer) for layer in mlp.layers]

    assert kinds(MLP(3, [2], nn.ReLU)) == [nn.Linear]
    assert kinds(MLP(3, [4, 2], nn.Tanh)) == [nn.Linear, nn.Tanh, nn.Linear]
    assert kinds(MLP(3, [4], nn.ELU, output_non_linearity=True)) == [nn.Linear, nn.ELU]
    assert MLP(3, [4, 2], nn.ReLU)(torch.zeros(5, 3)).shape == (5, 2)
    with pytest.raises(ValueError, match="at least one layer"):
        MLP(3, [], nn.ReLU)


@pytest.mark.parametrize("x_size", [1, 9, 50])
@pytest.mark.parametrize(
    ("channels", "sizes"), [(None, None), (None, [6]), ([4, 5], None), ([4], [6])]
)
def test_embed_says_its_size(x_size, channels, sizes):
    for in_channels in (1, 3):
        embed = Embed(x_size, in_channels, channels, (6, 3), (3, 2), sizes, nn.ReLU)
        images = torch.rand(3, in_channels, x_size, x_size)
        assert embed(images).shape == (3, embed.out_size)


def test_embed_of_nothing_is_the_pixels():
    images = torch.rand(3, 3, 9, 9)
    assert torch.equal(Embed(9, 3, None, (), (), None, nn.ReLU)(images), images.flatten(1))


def test_standard_deviations_are_positive_even_for_huge_inputs():
    for module in (Predict(4, [], nn.ReLU), Encoder(4, [], 6, nn.ReLU)):
        for sign in (-1e6, 1e6):
            scale = module(torch.full((2, 4), sign))[-1]
            assert (scale > 0).all()
            assert scale.isfinite().all()


def test_decoder_bias_and_sigmoid():
    plain = Decoder(9, [], 4, 0.0, False, nn.ReLU)
    shifted = Decoder(9, [], 4, -2.0, True, nn.ReLU)
    shifted.load_state_dict(plain.state_dict())
    z_what = torch.randn(3, 4)
    torch.testing.assert_close(shifted(z_what), (plain(z_what) - 2).sigmoid())


def test_non_linearity_by_name():
    assert non_linearity_layer("ReLU") is nn.ReLU
    for name in ("Foo", "Linear", "", "relu"):
        with pytest.raises(ValueError, match="non_linearity"):
            non_linearity_layer(name)
