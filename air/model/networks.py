"""The networks of AIR: `MLP`, `Embed`, `LSTM`, `Predict`, `Encoder`, `Decoder`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from air.model.canvas import ObjectLatents
from air.model.sizes import Sizes

# A standard deviation may not underflow to 0: its logarithm enters the objective.
MIN_SD = 1e-6


def non_linearity_layer(name: str) -> type[nn.Module]:
    """Return the class of an activation by its name in `torch.nn`, such as "ReLU".

    Raises:
        ValueError: `torch.nn` has no activation of that name.
    """
    layer = getattr(nn.modules.activation, name, None) if name[:1].isupper() else None
    if not (isinstance(layer, type) and issubclass(layer, nn.Module)):
        raise ValueError(f"non_linearity must name an activation of torch.nn, got {name!r}")
    return layer


class MLP(nn.Module):
    """Linear layers with a non-linearity between them.

    Args:
        in_size: length of the input.
        out_sizes: length of each layer's output, at least one.
        non_linear_layer: class of the non-linearity.
        output_non_linearity: whether it follows the last layer too.

    Raises:
        ValueError: `out_sizes` is empty.
    """

    def __init__(
        self,
        in_size: int,
        out_sizes: Sequence[int],
        non_linear_layer: type[nn.Module],
        output_non_linearity: bool = False,
    ) -> None:
        super().__init__()
        if not out_sizes:
            raise ValueError("an MLP needs at least one layer, got none")
        layers: list[nn.Module] = []
        for layer_in, layer_out in zip([in_size, *out_sizes], out_sizes, strict=False):
            layers += [nn.Linear(layer_in, layer_out), non_linear_layer()]
        self.layers = nn.Sequential(*(layers if output_non_linearity else layers[:-1]))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_size) to (N, out_sizes[-1])."""
        return self.layers(x)


class Embed(nn.Module):
    """What the recurrent networks see of an image: its pixels, or a code of an MLP or a small CNN.

    Args:
        x_size: width and height of the image, in pixels.
        in_channels: of the image.
        channels: channels of each convolution, or None for no convolution.
        kernels: width of each convolution's kernel, in pixels.
        strides: of each convolution.
        sizes: layers of an MLP after them, or None for none.
        non_linear_layer: class of the non-linearity after every layer.

    Attributes:
        out_size: length of the embedding.
    """

    def __init__(
        self,
        x_size: int,
        in_channels: int,
        channels: Sequence[int] | None,
        kernels: Sequence[int],
        strides: Sequence[int],
        sizes: Sequence[int] | None,
        non_linear_layer: type[nn.Module],
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        size, last = x_size, in_channels
        for layer_channels, kernel, stride in zip(channels or (), kernels, strides, strict=False):
            padding = kernel // 2
            layers += [nn.Conv2d(last, layer_channels, kernel, stride, padding), non_linear_layer()]
            size, last = (size + 2 * padding - kernel) // stride + 1, layer_channels
        layers.append(nn.Flatten())
        self.out_size = last * size**2
        if sizes is not None:
            layers.append(MLP(self.out_size, sizes, non_linear_layer, output_non_linearity=True))
            self.out_size = sizes[-1]
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, in_channels, x_size, x_size) to (N, out_size)."""
        return self.layers(images)


def build_embed(sizes: Sizes) -> Embed:
    """Return what a recurrent network sees; by default kernels are 3 wide and strides 2."""
    num_convolutions = len(sizes.embed_channels or ())
    return Embed(
        sizes.x_size,
        sizes.num_channels,
        sizes.embed_channels,
        sizes.embed_kernels or [3] * num_convolutions,
        sizes.embed_strides or [2] * num_convolutions,
        sizes.embed_net,
        non_linearity_layer(sizes.non_linearity),
    )


def latents_vector(latents: ObjectLatents) -> Tensor:
    """Return what recurrent networks are fed back of an object, (n, 3 + z_what_size + 1)."""
    return torch.cat((latents.z_where, latents.z_what, latents.z_pres), -1)


class LSTM(nn.Module):
    """An LSTM cell over [embedding, latents] whose product with the embedding is taken once.

    The embedding does not change from step to step, and is much the longest input, so
    `embedding_gates` computes its share of the gates once per image and `forward` adds the rest at
    each step. Together they equal `nn.LSTMCell` with one bias on the concatenated input, and start
    like it.

    Args:
        embedding_size: length of the embedding.
        latent_size: length of the latents that are fed back.
        hidden_size: length of the state.
    """

    def __init__(self, embedding_size: int, latent_size: int, hidden_size: int) -> None:
        super().__init__()
        # Transposed beside nn.Linear's: its gradient, the largest product of a step on raw pixels,
        # is a third faster this way round.
        self.from_embedding = nn.Parameter(torch.empty(embedding_size, 4 * hidden_size))
        self.from_latents = nn.Linear(latent_size + hidden_size, 4 * hidden_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -1 / math.sqrt(hidden_size), 1 / math.sqrt(hidden_size))
        self.h_init = nn.Parameter(torch.zeros(hidden_size))
        self.c_init = nn.Parameter(torch.zeros(hidden_size))

    def initial_state(self) -> tuple[Tensor, Tensor]:
        """Return the learned h and c before the first step, (1, hidden_size) each."""
        return self.h_init.unsqueeze(0), self.c_init.unsqueeze(0)

    def embedding_gates(self, embedding: Tensor) -> Tensor:
        """Return the embedding's share of the gates: (N, embedding_size) -> (N, 4 hidden_size)."""
        return embedding @ self.from_embedding

    def forward(
        self, embedding_gates: Tensor, latents: Tensor, state: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Take one step.

        Args:
            embedding_gates: (N, 4 hidden_size), from `embedding_gates`.
            latents: (N, latent_size), or (1, latent_size) where all images have the same.
            state: h and c, (N, hidden_size) each, or (1, hidden_size).

        Returns:
            The next h and c.
        """
        h, c = state
        gates = embedding_gates + self.from_latents(torch.cat((latents, h), -1))
        input_gate, forget_gate, cell, output_gate = gates.chunk(4, -1)
        c = forget_gate.sigmoid() * c + input_gate.sigmoid() * cell.tanh()
        return output_gate.sigmoid() * c.tanh(), c


class Predict(nn.Module):
    """From the LSTM's h to the parameters of q(z_pres) and q(z_where)."""

    def __init__(
        self, in_size: int, sizes: Sequence[int], non_linear_layer: type[nn.Module]
    ) -> None:
        super().__init__()
        self.mlp = MLP(in_size, [*sizes, 1 + 3 + 3], non_linear_layer)

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the log odds of z_pres (N, 1), and loc and scale (N, 3) of z_where.

        The last two are relative to the prior: an offset of its mean, a positive factor of its sd.
        """
        z_pres_logit, z_where_loc, z_where_raw_scale = self.mlp(h).split((1, 3, 3), -1)
        return z_pres_logit, z_where_loc, F.softplus(z_where_raw_scale) + MIN_SD


class Encoder(nn.Module):
    """From a window (N, window_size²) to the mean and sd of q(z_what), (N, z_what_size) each."""

    def __init__(
        self,
        in_size: int,
        sizes: Sequence[int],
        z_what_size: int,
        non_linear_layer: type[nn.Module],
    ) -> None:
        super().__init__()
        self.mlp = MLP(in_size, [*sizes, 2 * z_what_size], non_linear_layer)

    def forward(self, window: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean and the sd."""
        loc, raw_scale = self.mlp(window).chunk(2, -1)
        return loc, F.softplus(raw_scale) + MIN_SD


class Decoder(nn.Module):
    """From z_what (N, z_what_size) to the pixels of a window (N, window_size²).

    Args:
        out_size: number of pixels.
        sizes: hidden layers.
        z_what_size: length of the code.
        bias: added to the output before the sigmoid, (out_size,) or one number for all.
        use_sigmoid: whether pixels are held in (0, 1).
        non_linear_layer: class of the non-linearity.
    """

    bias: Tensor

    def __init__(
        self,
        out_size: int,
        sizes: Sequence[int],
        z_what_size: int,
        bias: Tensor | float,
        use_sigmoid: bool,
        non_linear_layer: type[nn.Module],
    ) -> None:
        super().__init__()
        self.register_buffer("bias", torch.as_tensor(bias), persistent=False)
        self.use_sigmoid = use_sigmoid
        self.mlp = MLP(z_what_size, [*sizes, out_size], non_linear_layer)

    def forward(self, z_what: Tensor) -> Tensor:
        """Return the pixels, from (..., z_what_size) to (..., window_size²)."""
        pixels = self.mlp(z_what) + self.bias
        return pixels.sigmoid() if self.use_sigmoid else pixels
