"""Control variates for the score-function gradient of z_pres.

The guide hands each z_pres site an `infer` entry; Pyro's `TraceGraph_ELBO` does the rest: it
subtracts the baseline from the learning signal and trains a data-dependent one by squared error.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from air.model.canvas import ObjectLatents
from air.model.networks import LSTM, MLP, build_embed, latents_vector, non_linearity_layer
from air.model.sizes import Sizes


class Baseline(nn.Module):
    """What the guide hands each z_pres site as its `infer` entry; each kind is a subclass.

    Attributes:
        any_size: whether it takes images of any size, or of the model's own alone.
    """

    any_size: ClassVar[bool] = False

    def start(self, images: Tensor) -> Any:
        """Return the first state, with what is taken from images once: none.

        Args:
            images: (n, channels, x_size, x_size).
        """
        return None

    def forward(self, state: Any, previous: ObjectLatents) -> tuple[dict[str, Any], Any]:
        """Return the entry of the next z_pres, before it is drawn, and the next state.

        Args:
            state: from `start`, or from the step before.
            previous: the object of the step before, as an attention gets it.
        """
        raise NotImplementedError


class NoBaseline(Baseline):
    """The plain score function, or an estimator that has none."""

    any_size = True

    def forward(self, state: None, previous: ObjectLatents) -> tuple[dict[str, Any], None]:
        """Return an empty entry."""
        return {}, None


class MovingAverage(Baseline):
    """Pyro's decaying average of past learning signals, one for each image of a batch.

    Args:
        decay: of the average.
    """

    any_size = True

    def __init__(self, decay: float) -> None:
        super().__init__()
        self.decay = decay

    def forward(self, state: None, previous: ObjectLatents) -> tuple[dict[str, Any], None]:
        """Return the entry by which Pyro keeps the average."""
        entry = {"use_decaying_avg_baseline": True, "baseline_beta": self.decay}
        return {"baseline": entry}, None


class NeuralState(NamedTuple):
    """What one step of the neural baseline hands to the next."""

    gates: Tensor  # (n, 4 rnn_hidden_size), the image's share
    rnn: tuple[Tensor, Tensor]  # h and c


class NeuralBaseline(Baseline):
    """A network that predicts the learning signal from the image and the latents so far.

    It is a twin of the guide's recurrent network (paper, section 2.2; Mnih and Gregor, 2014). Its
    inputs are detached, so that its squared error trains nothing else.

    Args:
        sizes: of the guide's networks.
        predict_net: hidden layers from the state to the prediction.
        scalar: factor of the prediction, which can be hundreds of nats, or None for 1.
        use_masking: whether finished images leave the objective, and so have a signal of 0.
    """

    def __init__(
        self, sizes: Sizes, predict_net: Sequence[int], scalar: float | None, use_masking: bool
    ) -> None:
        super().__init__()
        self.embed = build_embed(sizes)
        self.rnn = LSTM(self.embed.out_size, sizes.latent_size, sizes.rnn_hidden_size)
        layer = non_linearity_layer(sizes.non_linearity)
        self.predict = MLP(sizes.rnn_hidden_size, [*predict_net, 1], layer)
        self.scalar = 1.0 if scalar is None else scalar
        self.use_masking = use_masking

    def start(self, images: Tensor) -> NeuralState:
        """Embed the images."""
        gates = self.rnn.embedding_gates(self.embed(images))
        return NeuralState(gates, self.rnn.initial_state())

    def forward(
        self, state: NeuralState, previous: ObjectLatents
    ) -> tuple[dict[str, Any], NeuralState]:
        """Predict the learning signal of the next z_pres; see `Baseline`."""
        rnn = self.rnn(state.gates, latents_vector(previous).detach(), state.rnn)
        value = self.predict(rnn[0]) * self.scalar  # (n, 1)
        if self.use_masking:
            value = value * previous.z_pres.detach()
        return {"baseline": {"baseline_value": value.squeeze(-1)}}, state._replace(rnn=rnn)


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
