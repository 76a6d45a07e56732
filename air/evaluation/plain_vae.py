"""A plain variational autoencoder: one code for the whole image, to compare AIR's latents with."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from air.model.canvas import Likelihood
from air.model.compositing.sum import SummedCanvas

_HIDDEN = 256  # units of the one hidden layer on each side
_BATCH = 64
_EPOCHS = 10
_LR = 1e-3


class PlainVAE(nn.Module):
    """An image as one code with a standard normal prior (Kingma and Welling, 2014).

    Args:
        num_pixels: of an image.
        code_size: of its code.
        likelihood: as of the model that it is compared with.
    """

    def __init__(self, num_pixels: int, code_size: int, likelihood: Likelihood) -> None:
        super().__init__()
        self.likelihood = copy.deepcopy(likelihood)  # in which it may learn something else
        self.encoder = nn.Sequential(
            nn.Linear(num_pixels, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, 2 * code_size)
        )
        self.decoder = nn.Sequential(
            nn.Linear(code_size, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, num_pixels), nn.Sigmoid()
        )

    def encode(self, images: Tensor) -> Normal:
        """Return q(code | image) of images (N, num_pixels) in [0, 1]."""
        mean, log_sd = self.encoder(images).chunk(2, -1)
        return Normal(mean, log_sd.exp())

    def elbo(self, images: Tensor) -> Tensor:
        """Estimate the ELBO of each image with one draw, in nats, (N,)."""
        posterior = self.encode(images)
        image = self.decoder(posterior.rsample()).unsqueeze(1)  # the one object of its canvas
        canvas = SummedCanvas(image.new_ones(len(image), 1), image, None)
        log_likelihood: Tensor = self.likelihood(canvas).log_prob(images)
        return log_likelihood - kl_divergence(posterior, Normal(0.0, 1.0)).sum(-1)


def train_vae(images: Tensor, code_size: int, likelihood: Likelihood, seed: int) -> PlainVAE:
    """Train on images without labels; the caller's random state is left alone.

    Args:
        images: (N, num_pixels), in [0, 1]; of those in colour, one channel after the other.
        code_size: as many numbers as the latents that it is compared with.
        likelihood: as of the model that it is compared with.
        seed: of the weights, the order and the draws.
    """
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        vae = PlainVAE(images.shape[1], code_size, likelihood)
        optimiser = torch.optim.Adam(vae.parameters(), lr=_LR)
        for _ in range(_EPOCHS):
            for chosen in torch.randperm(len(images)).split(_BATCH):
                optimiser.zero_grad()
                (-vae.elbo(images[chosen]).mean()).backward()
                optimiser.step()
    return vae
