"""A background of its own behind each scene, which a small variational autoencoder describes."""

from __future__ import annotations

from collections.abc import Sequence

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import kl_divergence

from air.model.background.image import median_logits
from air.model.canvas import Background
from air.model.networks import MLP, Encoder
from air.model.sites import Z_BACKGROUND

# Of the start.
_STEPS = 300
_BATCH = 64
_LR = 2e-3
_SD = 0.1  # of a pixel


class VAEBackground(Background):
    """A code of the whole image, z_background, too short to describe objects too.

    Args:
        num_channels: of an image.
        x_size: width and height of an image, in pixels.
        z_background_size: length of the code.
        encoder_net: hidden layers from an image to q(z_background).
        decoder_net: hidden layers from z_background to the background.
        layer: class of the non-linearity.
    """

    def __init__(
        self,
        num_channels: int,
        x_size: int,
        z_background_size: int,
        encoder_net: Sequence[int],
        decoder_net: Sequence[int],
        layer: type[nn.Module],
    ) -> None:
        super().__init__()
        self.size = (num_channels, x_size, x_size)
        self.z_background_size = z_background_size
        num_pixels = num_channels * x_size**2
        self.encode = Encoder(num_pixels, encoder_net, z_background_size, layer)
        self.decode = MLP(z_background_size, [*decoder_net, num_pixels], layer)
        self.common = nn.Parameter(torch.zeros(self.size))  # logits of what backgrounds share

    def start_at(self, images: Tensor, grounds: Tensor) -> None:
        """Learn to say of images what their grounds are, by the ELBO of these.

        A background that learns beside the objects from the first would learn to show them too,
        which is easy, before an object is worth what it costs.
        """
        with torch.no_grad():
            self.common.copy_(median_logits(grounds, grounds.shape[-1]))
        optimizer = torch.optim.Adam(self.parameters(), lr=_LR)
        prior = dist.Normal(0.0, 1.0)
        for _ in range(_STEPS):
            chosen = torch.randint(len(images), (_BATCH,), device=images.device)
            q = dist.Normal(*self.encode(images[chosen].flatten(1)))
            distance = (self.decoded(q.rsample()) - grounds[chosen]).square().sum()
            loss = distance / (2 * _SD**2) + kl_divergence(q, prior).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        optimizer.zero_grad()

    def draw(self, n: int, x_size: int) -> Tensor:
        """Draw z_background in the program `model`, and decode it."""
        zeros = self.common.new_zeros(n, self.z_background_size)
        return self.decoded(pyro.sample(Z_BACKGROUND, dist.Normal(zeros, zeros + 1).to_event(1)))

    def infer(self, images: Tensor) -> Tensor:
        """Infer z_background in the program `guide`, and decode it."""
        q = dist.Normal(*self.encode(images.flatten(1))).to_event(1)
        return self.decoded(pyro.sample(Z_BACKGROUND, q))

    def decoded(self, z_background: Tensor) -> Tensor:
        """Return backgrounds (n, channels, x_size, x_size) of codes (n, z_background_size)."""
        return (self.decode(z_background).unflatten(-1, self.size) + self.common).sigmoid()
