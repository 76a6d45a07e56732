"""AIR: the generative model and its amortised guide (Eslami et al., 2016, sections 2 and 3).

Both are Pyro programs with the same sites, `z_pres_{t}`, `z_where_{t}`, `z_what_{t}` for each step t,
inside the plate `data`. Every estimator runs these two programs and no others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from air.baselines import NeuralBaseline, moving_average_entry, neural_baseline_entry
from air.geometry import image_to_window, window_to_image
from air.likelihood import PixelNormal
from air.networks import LSTM, Decoder, Embed, Encoder, Predict, non_linearity_layer
from air.posterior import Posterior, infer

PresencePrior = Callable[[int], float | Tensor]

# Once an object is absent, all later ones are. sigmoid(-1000) is exactly 0 in single and double
# precision, and so are log(1 - sigmoid(-1000)) and its gradient.
ABSENT_LOGIT = -1000.0


def default_z_pres_prior_p(t: int) -> float:
    """Return Pyro's default trial probability of the t-th object."""
    return 0.5


class ObjectLatents(NamedTuple):
    """What one step of the generative model draws, and hands to the next."""

    z_pres: Tensor  # (N, 1)
    z_where: Tensor  # (N, 3)
    z_what: Tensor  # (N, z_what_size)


class GuideState(NamedTuple):
    """What one step of the guide hands to the next."""

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


class AIR(nn.Module):
    """Attend, Infer, Repeat.

    The keyword arguments have the meanings of Pyro's `examples/air`; `embed_channels` and
    `baseline_decay` are ours.

    Args:
        num_steps: the most objects in an image, at least 1.
        x_size: width and height of an image, in pixels.
        window_size: width and height of an attention window, in pixels, at most `x_size`.
        z_what_size: length of an object's appearance code.
        rnn_hidden_size: length of the LSTM's state.
        encoder_net: hidden layers from a window to q(z_what).
        decoder_net: hidden layers from z_what to a window.
        predict_net: hidden layers from the LSTM to q(z_pres) and q(z_where).
        embed_net: MLP layers from the image to the LSTM; None shows it the pixels themselves.
        bl_predict_net: hidden layers of the neural baseline.
        non_linearity: name of an activation in `torch.nn`.
        decoder_output_bias: added to the decoder's output before its sigmoid.
        decoder_output_use_sigmoid: whether decoded pixels are held in (0, 1).
        use_masking: whether z_where and z_what of absent objects leave the objective.
        use_baselines: whether z_pres carries a baseline for score-function gradients.
        baseline_scalar: factor of the neural baseline's output.
        scale_prior_mean: mean of s; a window covers `x_size / s` pixels.
        scale_prior_sd: standard deviation of s.
        pos_prior_mean: mean of x and y.
        pos_prior_sd: standard deviation of x and y.
        likelihood_sd: standard deviation of a pixel around the canvas.
        embed_channels: channels of strided convolutions before `embed_net`; None for none.
        baseline_decay: use Pyro's decaying average with this decay instead of the neural baseline.

    Raises:
        ValueError: a size is below 1, the window exceeds the image, a standard deviation is not
            positive, or the activation is unknown.
    """

    def __init__(
        self,
        num_steps: int = 3,
        x_size: int = 50,
        window_size: int = 28,
        z_what_size: int = 50,
        rnn_hidden_size: int = 256,
        encoder_net: Sequence[int] = (),
        decoder_net: Sequence[int] = (),
        predict_net: Sequence[int] = (),
        embed_net: Sequence[int] | None = None,
        bl_predict_net: Sequence[int] = (),
        non_linearity: str = "ReLU",
        decoder_output_bias: float | None = None,
        decoder_output_use_sigmoid: bool = False,
        use_masking: bool = True,
        use_baselines: bool = True,
        baseline_scalar: float | None = None,
        scale_prior_mean: float = 3.0,
        scale_prior_sd: float = 0.1,
        pos_prior_mean: float = 0.0,
        pos_prior_sd: float = 1.0,
        likelihood_sd: float = 0.3,
        embed_channels: Sequence[int] | None = None,
        baseline_decay: float | None = None,
    ) -> None:
        self.arguments: dict[str, Any] = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in locals().items()
            if name not in ("self", "__class__")
        }  # enough to build this model again, in plain values
        super().__init__()
        _check_arguments(self.arguments)

        self.num_steps = num_steps
        self.x_size = x_size
        self.window_size = window_size
        self.z_what_size = z_what_size
        self.use_masking = use_masking
        self.use_baselines = use_baselines
        self.baseline_decay = baseline_decay
        self.likelihood_sd = likelihood_sd
        self.register_buffer(
            "z_where_prior_mean", torch.tensor([scale_prior_mean, pos_prior_mean, pos_prior_mean])
        )
        self.register_buffer(
            "z_where_prior_sd", torch.tensor([scale_prior_sd, pos_prior_sd, pos_prior_sd])
        )

        layer = non_linearity_layer(non_linearity)
        latent_size = 3 + z_what_size + 1
        self.embed = Embed(x_size, embed_channels, embed_net, layer)
        self.rnn = LSTM(self.embed.out_size, latent_size, rnn_hidden_size)
        self.predict = Predict(rnn_hidden_size, predict_net, layer)
        self.encode = Encoder(window_size**2, encoder_net, z_what_size, layer)
        self.decode = Decoder(
            window_size**2,
            decoder_net,
            z_what_size,
            decoder_output_bias,
            decoder_output_use_sigmoid,
            layer,
        )
        self.z_where_init = nn.Parameter(torch.zeros(3))
        self.z_what_init = nn.Parameter(torch.zeros(z_what_size))
        self.bl: NeuralBaseline | None = None
        if use_baselines and baseline_decay is None:
            self.bl = NeuralBaseline(
                Embed(x_size, embed_channels, embed_net, layer),
                latent_size,
                rnn_hidden_size,
                bl_predict_net,
                baseline_scalar,
                layer,
            )

    # --- the generative model -------------------------------------------------------------------

    def model(
        self,
        data: Tensor,
        batch_size: int | None = None,
        *,
        z_pres_prior_p: PresencePrior = default_z_pres_prior_p,
        num_steps: int | None = None,
    ) -> None:
        """Explain images as sums of objects.

        Args:
            data: (N, x_size, x_size), pixels in [0, 1].
            batch_size: as in `guide`, which draws the subsample.
            z_pres_prior_p: step -> trial probability of its object.
            num_steps: the most objects, if not the model's own number.
        """
        pyro.module("decode", self.decode)
        with pyro.plate("data", data.shape[0], device=data.device) as index:
            batch = data[index]  # (n, x_size, x_size)
            _, canvas = self.prior(
                batch.shape[0], z_pres_prior_p=z_pres_prior_p, num_steps=num_steps
            )
            pyro.sample(
                "obs", PixelNormal(canvas.flatten(-2), self.likelihood_sd), obs=batch.flatten(-2)
            )

    def prior(
        self,
        n: int,
        *,
        z_pres_prior_p: PresencePrior = default_z_pres_prior_p,
        num_steps: int | None = None,
    ) -> tuple[tuple[list[Tensor], list[Tensor]], Tensor]:
        """Draw objects and the images they add up to.

        Args:
            n: number of images.
            z_pres_prior_p: step -> trial probability of its object.
            num_steps: the most objects, if not the model's own number.

        Returns:
            `((z_where, z_pres), images)`: a tensor (n, 3) and one (n, 1) for each step, and images
            (n, x_size, x_size).
        """
        objects: list[ObjectLatents] = []
        z_pres = self.z_where_prior_mean.new_ones(n, 1)
        for t in range(self.num_steps if num_steps is None else num_steps):
            objects.append(self.prior_step(t, z_pres, z_pres_prior_p))
            z_pres = objects[-1].z_pres
        z_pres_steps, z_where, z_what = (list(latent) for latent in zip(*objects, strict=True))
        canvas = self.render(
            torch.cat(z_pres_steps, -1), torch.stack(z_where, -2), torch.stack(z_what, -2)
        )
        return (z_where, z_pres_steps), canvas

    def prior_step(
        self, t: int, previous_z_pres: Tensor, z_pres_prior_p: PresencePrior
    ) -> ObjectLatents:
        """Draw the t-th object: is it there, where, and what is it?"""
        n = previous_z_pres.shape[-2]

        z_pres = pyro.sample(
            f"z_pres_{t}", _presence(_logit(z_pres_prior_p(t)), previous_z_pres)
        )  # (n, 1)

        # Objects after the last present one are drawn like the others, because a batch has one
        # shape; masking takes them out of the objective, and z_pres out of the image.
        mask = z_pres > 0 if self.use_masking else True

        z_where = pyro.sample(
            f"z_where_{t}",
            dist.Normal(
                self.z_where_prior_mean.expand(n, 3), self.z_where_prior_sd.expand(n, 3)
            )
            .mask(mask)
            .to_event(1),
        )  # (n, 3)

        zeros = z_where.new_zeros(n, self.z_what_size)
        z_what = pyro.sample(
            f"z_what_{t}", dist.Normal(zeros, zeros + 1).mask(mask).to_event(1)
        )  # (n, z_what_size)
        return ObjectLatents(z_pres, z_where, z_what)

    def render(self, z_pres: Tensor, z_where: Tensor, z_what: Tensor) -> Tensor:
        """Add up the objects that are present.

        There is no occlusion: overlapping objects add up, beyond 1 if they must. The steps do not
        depend on one another here, so one pass decodes and places the objects of all of them.

        Args:
            z_pres: (..., n, num_steps), 0 or 1; further leading dimensions render the same objects
                with other choices among them.
            z_where: (n, num_steps, 3).
            z_what: (n, num_steps, z_what_size).

        Returns:
            (..., n, x_size, x_size) canvases.
        """
        windows = self.decode(z_what).unflatten(-1, (self.window_size, self.window_size))
        objects = window_to_image(z_where, windows, self.x_size)  # (n, num_steps, x_size, x_size)
        return torch.einsum("...nt,ntij->...nij", z_pres, objects)

    # --- the guide ------------------------------------------------------------------------------

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
        pyro.module("embed", self.embed)
        pyro.module("rnn", self.rnn)
        pyro.module("predict", self.predict)
        pyro.module("encode", self.encode)
        pyro.param("z_where_init", self.z_where_init)
        pyro.param("z_what_init", self.z_what_init)
        if self.bl is not None:
            pyro.module("bl_", self.bl)

        with pyro.plate(
            "data", data.shape[0], subsample_size=batch_size, device=data.device
        ) as index:
            batch = data[index]  # (n, x_size, x_size)
            n = batch.shape[0]
            gates = self.rnn.embedding_gates(self.embed(batch))
            baseline_gates, baseline_state = self.bl.start(batch) if self.bl else (None, None)
            inputs = ImageInputs(batch, gates, baseline_gates)
            state = GuideState(
                rnn=self.rnn.initial_state(n),
                baseline=baseline_state,
                z_pres=batch.new_ones(n, 1),
                z_where=self.z_where_init.expand(n, -1),
                z_what=self.z_what_init.expand(n, -1),
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
            f"z_pres_{t}", _presence(z_pres_logit, previous.z_pres), infer=infer_entry
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
    ) -> tuple[dict[str, Any], tuple[Tensor, Tensor] | None]:
        """Return the `infer` entry of this step's z_pres and the baseline's next state."""
        if not self.use_baselines:
            return {}, None
        if self.bl is None:
            assert self.baseline_decay is not None
            return moving_average_entry(self.baseline_decay), None
        assert inputs.baseline_gates is not None and previous.baseline is not None
        value, state = self.bl(inputs.baseline_gates, latents, previous.baseline)
        return neural_baseline_entry(value, previous.z_pres, self.use_masking), state

    # --- using a trained model ------------------------------------------------------------------

    def infer(
        self, images: Any, num_steps: int | None = None, *, sample: bool = False
    ) -> Posterior:
        """Find, count and describe the objects of images; see `air.posterior.infer`."""
        return infer(self, images, num_steps, sample=sample)


def _presence(logit: Tensor, previous_z_pres: Tensor) -> dist.Independent:
    """Return the distribution of z_pres, which stays 0 once it is 0."""
    logits = torch.where(previous_z_pres > 0, logit.to(previous_z_pres), ABSENT_LOGIT)
    return dist.Bernoulli(logits=logits, validate_args=False).to_event(1)


def _logit(probability: float | Tensor) -> Tensor:
    """Return the log odds in double precision, so that priors near 0 and 1 survive."""
    p = torch.as_tensor(probability, dtype=torch.float64)
    return p.logit().clamp(ABSENT_LOGIT, -ABSENT_LOGIT)


def _check_arguments(arguments: dict[str, Any]) -> None:
    for name in ("num_steps", "x_size", "window_size", "z_what_size", "rnn_hidden_size"):
        if arguments[name] < 1:
            raise ValueError(f"{name} must be 1 or more, got {arguments[name]}")
    for name in ("scale_prior_sd", "pos_prior_sd", "likelihood_sd"):
        if not 0 < arguments[name] < math.inf:
            raise ValueError(f"{name} must be positive and finite, got {arguments[name]}")
    if arguments["window_size"] > arguments["x_size"]:
        raise ValueError(
            f"window_size must be at most x_size={arguments['x_size']}, "
            f"got {arguments['window_size']}"
        )
