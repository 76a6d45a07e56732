"""The guide of AIR (Eslami et al., 2016, section 2): a recurrent network attends to the objects."""

from __future__ import annotations

from typing import Any, NamedTuple

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from air.model.baselines import NeuralBaseline, moving_average_entry, neural_baseline_entry
from air.model.images import in_type_of
from air.model.networks import LSTM, Embed, Encoder, Predict
from air.model.parameters import register
from air.model.presence import PresencePrior, default_z_pres_prior_p, presence
from air.model.windows import image_to_window


class GuideState(NamedTuple):
    """What one step of the guide hands to the next; before the first step, N is 1."""

    rnn: tuple[Tensor, Tensor]  # h and c, (N, rnn_hidden_size) each
    baseline: tuple[Tensor, Tensor] | None
    z_pres: Tensor  # (N, 1)
    z_where: Tensor  # (N, 3)
    z_what: Tensor  # (N, z_what_size)


class ImageInputs(NamedTuple):
    """What the guide takes from the images, once for all steps."""

    images: Tensor  # (N, x_size, x_size)
    gates: Tensor  # (N, 4 rnn_hidden_size)
    baseline_gates: Tensor | None


class Guide(nn.Module):
    """The program `guide`; `air.model.air.AIR` gives it its sizes and networks."""

    num_steps: int
    window_size: int
    use_masking: bool
    use_baselines: bool
    baseline_decay: float | None
    z_where_prior_mean: Tensor  # (3,)
    z_where_prior_sd: Tensor  # (3,)
    z_where_init: nn.Parameter  # (3,)
    z_what_init: nn.Parameter  # (z_what_size,)
    embed: Embed
    rnn: LSTM
    predict: Predict
    encode: Encoder
    bl: NeuralBaseline | None

    def guide(
        self,
        data: Tensor,
        batch_size: int | None = None,
        *,
        z_pres_prior_p: PresencePrior = default_z_pres_prior_p,
        num_steps: int | None = None,
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Infer the objects of images.

        Args:
            data: (N, x_size, x_size), pixels in [0, 1].
            batch_size: how many of the N images to subsample; None or N for all, in order.
            z_pres_prior_p: taken so that `SVI` can call model and guide alike; not used.
            num_steps: the most objects, if not the model's own number.

        Returns:
            z_where and z_pres: for each step a tensor (n, 3) and one (n, 1).
        """
        register("embed", self.embed)
        register("rnn", self.rnn)
        register("predict", self.predict)
        register("encode", self.encode)
        register("z_where_init", self.z_where_init)
        register("z_what_init", self.z_what_init)
        if self.bl is not None:
            register("bl_", self.bl)

        with pyro.plate(
            "data", data.shape[0], subsample_size=batch_size, device=str(data.device)
        ) as index:
            batch = in_type_of(self.z_where_prior_mean, data[index])  # (n, x_size, x_size)
            gates = self.rnn.embedding_gates(self.embed(batch))
            baseline_gates, baseline_state = self.bl.start(batch) if self.bl else (None, None)
            inputs = ImageInputs(batch, gates, baseline_gates)
            # One row for all images, so that the first step's products with it are taken once.
            state = GuideState(
                rnn=self.rnn.initial_state(),
                baseline=baseline_state,
                z_pres=batch.new_ones(1, 1),
                z_where=self.z_where_init.unsqueeze(0),
                z_what=self.z_what_init.unsqueeze(0),
            )
            z_where, z_pres = [], []
            for t in range(self.num_steps if num_steps is None else num_steps):
                state = self.guide_step(t, state, inputs)
                z_where.append(state.z_where)
                z_pres.append(state.z_pres)
            return z_where, z_pres

    def guide_step(self, t: int, previous: GuideState, inputs: ImageInputs) -> GuideState:
        """Look at the image again: is there a t-th object, where, and what is it?"""
        latents = torch.cat((previous.z_where, previous.z_what, previous.z_pres), -1)
        rnn = self.rnn(inputs.gates, latents, previous.rnn)
        z_pres_logit, z_where_loc, z_where_scale = self.predict(rnn[0])

        infer_entry, baseline = self.baseline_step(previous, inputs, latents)
        z_pres = pyro.sample(
            f"z_pres_{t}", presence(z_pres_logit, previous.z_pres), infer=infer_entry
        )  # (n, 1)
        mask = z_pres > 0 if self.use_masking else True

        z_where = pyro.sample(
            f"z_where_{t}",
            dist.Normal(
                self.z_where_prior_mean + z_where_loc, self.z_where_prior_sd * z_where_scale
            )
            .mask(mask)
            .to_event(1),
        )  # (n, 3)

        # The paper's figure 2 draws the attended window from z_where and the LSTM's state; it can
        # only be cropped from the image itself.
        window = image_to_window(z_where, inputs.images, self.window_size)
        z_what_loc, z_what_scale = self.encode(window.flatten(-2))
        z_what = pyro.sample(
            f"z_what_{t}", dist.Normal(z_what_loc, z_what_scale).mask(mask).to_event(1)
        )  # (n, z_what_size)
        return GuideState(rnn, baseline, z_pres, z_where, z_what)

    def baseline_step(
        self, previous: GuideState, inputs: ImageInputs, latents: Tensor
    ) -> tuple[Any, tuple[Tensor, Tensor] | None]:
        """Return the `infer` entry of this step's z_pres and the baseline's next state."""
        if not self.use_baselines:
            return {}, None
        if self.bl is None:
            assert self.baseline_decay is not None
            return moving_average_entry(self.baseline_decay), None
        assert inputs.baseline_gates is not None
        assert previous.baseline is not None
        value, state = self.bl(inputs.baseline_gates, latents, previous.baseline)
        return neural_baseline_entry(value, previous.z_pres, self.use_masking), state
