"""Control variates for the score-function gradient of z_pres.

The guide hands each z_pres site an `infer` entry; Pyro's `TraceGraph_ELBO` does the rest: it
subtracts the baseline from the learning signal and trains a data-dependent one by squared error.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from air.model.networks import LSTM, MLP, Embed


class NeuralBaseline(nn.Module):
    """A network that predicts the learning signal from the image and the latents so far.

    It is a twin of the guide's recurrent network (paper, section 2.2; Mnih and Gregor, 2014). Its
    inputs are detached, so that its squared error trains nothing else.

    Args:
        embed: its own embedding of the image.
        latent_size: length of [z_where, z_what, z_pres].
        hidden_size: length of the LSTM's state.
        predict_net: hidden layers from the state to the prediction.
        scalar: factor of the prediction, which can be hundreds of nats, or None for 1.
        non_linear_layer: class of the non-linearity.
    """

    def __init__(
        self,
        embed: Embed,
        latent_size: int,
        hidden_size: int,
        predict_net: Sequence[int],
        scalar: float | None,
        non_linear_layer: type[nn.Module],
    ) -> None:
        super().__init__()
        self.embed = embed
        self.rnn = LSTM(embed.out_size, latent_size, hidden_size)
        self.predict = MLP(hidden_size, [*predict_net, 1], non_linear_layer)
        self.scalar = 1.0 if scalar is None else scalar

    def start(self, images: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the image's share of the gates and the first state, for `forward`."""
        gates = self.rnn.embedding_gates(self.embed(images))
        return gates, self.rnn.initial_state()

    def forward(
        self, gates: Tensor, latents: Tensor, state: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the prediction (N, 1) before this step's z_pres is drawn, and the next state."""
        state = self.rnn(gates, latents.detach(), state)
        return self.predict(state[0]) * self.scalar, state


def neural_baseline_entry(value: Tensor, previous_z_pres: Tensor, mask: bool) -> dict[str, Any]:
    """Return the `infer` entry of a z_pres site for a predicted learning signal.

    Args:
        value: (N, 1) predictions.
        previous_z_pres: (N, 1), or (1, 1) before the first step; 0 leaves no choice to make.
        mask: whether finished images leave the objective, and so have a signal of 0.
    """
    if mask:
        value = value * previous_z_pres.detach()
    return {"baseline": {"baseline_value": value.squeeze(-1)}}


def moving_average_entry(decay: float) -> dict[str, Any]:
    """Return the `infer` entry of a z_pres site for Pyro's decaying average."""
    return {"baseline": {"use_decaying_avg_baseline": True, "baseline_beta": decay}}


MOVING_AVERAGE_PREFIX = "__baseline_avg_downstream_cost_"  # Pyro's name in its parameter store


def moving_averages(names_and_values: Any) -> dict[str, Tensor]:
    """Pick Pyro's decaying averages out of `(name, value)` pairs of its parameter store."""
    return {
        name: value.detach().clone()
        for name, value in names_and_values
        if name.startswith(MOVING_AVERAGE_PREFIX) and torch.is_tensor(value)
    }


def joined_averages(shares: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Put the averages of several processes together: they have an entry for each image of a batch.

    Args:
        shares: in the order of the images' shares of the batch.
    """
    return {name: torch.cat([share[name] for share in shares]) for name in shares[0]}
