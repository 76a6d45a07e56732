"""The attention of the paper (section 2.1, figure 2): an LSTM that sees the whole image."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from air.model.attention.look import Attention, ChoosePlace, Look, Render, foreground_of, hottest
from air.model.canvas import ObjectLatents
from air.model.networks import LSTM, Predict, build_embed, latents_vector, non_linearity_layer
from air.model.sizes import Sizes
from air.model.windows import WherePrior


class RecurrentState(NamedTuple):
    """What one step hands to the next; before the first step, h and c have one row."""

    foreground: Tensor  # (n, channels, x_size, x_size)
    gates: Tensor  # (n, 4 rnn_hidden_size), the image's share
    rnn: tuple[Tensor, Tensor]  # h and c, (n, rnn_hidden_size) each


class RecurrentAttention(Attention):
    """One vector for the whole image goes into an LSTM, whose state says where to look.

    Args:
        sizes: of the networks.
        z_where_prior: what q(z_where) is relative to.
    """

    def __init__(self, sizes: Sizes, z_where_prior: WherePrior) -> None:
        super().__init__()
        layer = non_linearity_layer(sizes.non_linearity)
        self.embed = build_embed(sizes)
        self.rnn = LSTM(self.embed.out_size, sizes.latent_size, sizes.rnn_hidden_size)
        self.predict = Predict(sizes.rnn_hidden_size, sizes.predict_net, layer)
        self.z_where_prior = z_where_prior

    def start(self, images: Tensor, background: Tensor | None, render: Render) -> RecurrentState:
        """Embed the images, which do not change from step to step; see `Attention`."""
        foreground = foreground_of(images, background)
        gates = self.rnn.embedding_gates(self.embed(foreground))
        # One row for all images, so that the first step's products with it are taken once.
        return RecurrentState(foreground, gates, self.rnn.initial_state())

    def forward(
        self, state: RecurrentState, previous: ObjectLatents, choose_place: ChoosePlace = hottest
    ) -> tuple[Look, RecurrentState]:
        """Look for the next object; see `Attention`."""
        rnn = self.rnn(state.gates, latents_vector(previous), state.rnn)
        z_pres_logit, offset, factor = self.predict(rnn[0])
        look = Look(
            z_pres_logit,
            z_where_loc=self.z_where_prior.mean + offset,
            z_where_scale=self.z_where_prior.sd * factor,
            # The paper's figure 2 draws the attended window from z_where and the LSTM's state; it
            # can only be cropped from the image itself.
            view=state.foreground,
        )
        return look, state._replace(rnn=rnn)
