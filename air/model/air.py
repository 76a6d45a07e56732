"""AIR: the generative model and its amortised guide in one module.

Both are Pyro programs with the same sites, `z_pres_{t}`, `z_where_{t}`, `z_what_{t}` for each step
t, inside the plate `data`. Every estimator runs these two programs and no others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from air.acceleration.black_pixels import is_mostly_zero
from air.model.baselines import NeuralBaseline
from air.model.generative import GenerativeModel
from air.model.guide import Guide
from air.model.images import checked_images
from air.model.networks import LSTM, Decoder, Embed, Encoder, Predict, non_linearity_layer
from air.model.posterior import Posterior, infer


class AIR(GenerativeModel, Guide):
    """Attend, Infer, Repeat.

    The keyword arguments have the meanings of Pyro's `examples/air`; `embed_channels`,
    `embed_kernels`, `embed_strides` and `baseline_decay` are ours.

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
        embed_channels: channels of convolutions before `embed_net`; None for none.
        embed_kernels: their widths in pixels; 3 each by default.
        embed_strides: their strides; 2 each by default.
        baseline_decay: use Pyro's decaying average with this decay instead of the neural baseline.
        use_cuda: put the model on the GPU.

    Raises:
        ValueError: a size is below 1, the window exceeds the image, a standard deviation is not
            positive, the convolutions' lists differ in length, the activation is unknown, or
            there is no GPU.
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
        embed_kernels: Sequence[int] | None = None,
        embed_strides: Sequence[int] | None = None,
        baseline_decay: float | None = None,
        use_cuda: bool = False,
    ) -> None:
        self.arguments: dict[str, Any] = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in locals().items()
            if name not in ("self", "__class__", "use_cuda")
        }  # enough to build this model again, in plain values
        super().__init__()
        _check_arguments(self.arguments)
        if use_cuda and not torch.cuda.is_available():
            raise ValueError("use_cuda must be False on this machine, which has no GPU, got True")

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
        num_convolutions = len(embed_channels or ())

        def embed() -> Embed:
            return Embed(
                x_size,
                embed_channels,
                embed_kernels or [3] * num_convolutions,
                embed_strides or [2] * num_convolutions,
                embed_net,
                layer,
            )

        self.embed = embed()
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
                embed(),
                latent_size,
                rnn_hidden_size,
                bl_predict_net,
                baseline_scalar,
                layer,
            )
        if use_cuda:
            self.cuda()

    def __getstate__(self) -> dict[str, Any]:
        """Return what pickle takes: without the weak references that Pyro hangs on parameters."""
        for parameter in self.parameters():
            vars(parameter).pop("unconstrained", None)
        state: dict[str, Any] = super().__getstate__()
        return state

    def skip_black_pixels(self, images: Tensor) -> None:
        """Prepare for images of which most pixels are black, if these are such.

        On the CPU, products with raw pixels then skip what is black; results stay the same but for
        rounding. Where convolutions or an MLP embed the image, nothing changes.

        Args:
            images: (N, x_size, x_size), some of those to come; of any type.
        """
        sees_pixels = not list(self.embed.parameters())
        self.rnn.skips_zeros = sees_pixels and is_mostly_zero(images)
        if self.bl is not None:
            self.bl.rnn.skips_zeros = self.rnn.skips_zeros

    def infer(
        self, images: Any, num_steps: int | None = None, *, sample: bool = False
    ) -> Posterior:
        """Find, count and describe the objects of a user's images; see `air.model.posterior.infer`.

        Args:
            images: (N, x_size, x_size), a tensor or array: uint8, bool, or floats in [0, 1].
            num_steps: the most objects to look for; the model's own number by default.
            sample: draw, instead of posterior means and the most probable count.

        Raises:
            ValueError: there are no images, or they have another shape or type; floats are not
                finite or not in [0, 1], or bytes are 0 and 1; `num_steps` is below 1.
        """
        return infer(self, checked_images(images, self.x_size), num_steps, sample=sample)


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
    num_convolutions = len(arguments["embed_channels"] or ())
    for name in ("embed_kernels", "embed_strides"):
        if arguments[name] and len(arguments[name]) != num_convolutions:
            raise ValueError(
                f"{name} must have one number for each of the {num_convolutions} embed_channels, "
                f"got {arguments[name]}"
            )
