"""AIR: a generative model of images and its amortised guide.

Both are Pyro programs with the same sites, `z_pres_{t}`, `z_where_{t}`, `z_what_{t}` for each step
t, inside the plate `data`. Every estimator runs these two programs and no others.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from air.model.background.none import NoBackground
from air.model.baselines import Baseline, MovingAverage, NeuralBaseline, NoBaseline
from air.model.canvas import Canvas
from air.model.config import NoBackgroundConfig, NormalConfig, RecurrentConfig, SumConfig
from air.model.generative import GenerativeModel
from air.model.guide import Guide
from air.model.images import checked_images
from air.model.networks import Decoder, Encoder, non_linearity_layer
from air.model.parameters import ProgramModule
from air.model.posterior import Posterior, infer
from air.model.presence import PresencePrior, default_z_pres_prior_p
from air.model.sizes import Sizes
from air.model.windows import WherePrior

if TYPE_CHECKING:
    from air.model.config import (
        AttentionConfig,
        BackgroundConfig,
        CompositingConfig,
        LikelihoodConfig,
    )


class AIR(ProgramModule):
    """Attend, Infer, Repeat.

    The arguments have the meanings of Pyro's `examples/air`; those behind `pos_prior_sd`, but for
    `use_cuda`, are ours.

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
        attention: where the guide looks next; the paper's by default. This and the next three are
            options of `air.model.config`, which build what they describe.
        background: what lies behind the objects; nothing by default.
        compositing: how objects make one image; they add up by default.
        likelihood: what an image is, given the canvas; normal with `likelihood_sd` by default.
            If that is learned, it starts there.
        num_channels: of an image: 1 for grey, 3 for colour.

    Attributes:
        num_channels: as given.
        model: the program `model`, a `GenerativeModel`.
        guide: the program `guide`, a `Guide`.

    Raises:
        ValueError: a size is below 1, the window exceeds the image, a standard deviation is not
            positive, the convolutions' lists differ in length, the activation is unknown, or
            there is no GPU.
        ConfigError: the likelihood has no meaning with the compositing or the standard deviation,
            or the compositing without a sigmoid.
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
        *,
        attention: AttentionConfig | None = None,
        background: BackgroundConfig | None = None,
        compositing: CompositingConfig | None = None,
        likelihood: LikelihoodConfig | None = None,
        num_channels: int = 1,
    ) -> None:
        super().__init__()
        if use_cuda and not torch.cuda.is_available():
            raise ValueError("use_cuda: must be False on this machine, which has no GPU, got True")
        sizes = Sizes(
            num_steps=num_steps,
            x_size=x_size,
            num_channels=num_channels,
            window_size=window_size,
            z_what_size=z_what_size,
            rnn_hidden_size=rnn_hidden_size,
            encoder_net=encoder_net,
            decoder_net=decoder_net,
            predict_net=predict_net,
            embed_net=embed_net,
            embed_channels=embed_channels,
            embed_kernels=embed_kernels,
            embed_strides=embed_strides,
            non_linearity=non_linearity,
            decoder_output_bias=decoder_output_bias,
            decoder_output_use_sigmoid=decoder_output_use_sigmoid,
        )
        layer = non_linearity_layer(non_linearity)
        window_pixels = window_size**2
        z_where_prior = WherePrior(
            x_size, scale_prior_mean, scale_prior_sd, pos_prior_mean, pos_prior_sd
        )

        attention = attention or RecurrentConfig("recurrent")
        background = background or NoBackgroundConfig("none")
        compositing = compositing or SumConfig("sum")
        likelihood = likelihood or NormalConfig("normal", sd="fixed")
        compositing.check(decoder_output_use_sigmoid)
        likelihood.check(likelihood_sd, compositing)
        canvas = Canvas(window_size, compositing.build(sizes), background.build(sizes))
        attend = attention.build(sizes, z_where_prior)
        # What lies behind the objects is part of what is cropped, where there is something.
        num_views = 1 if isinstance(canvas.background, NoBackground) else 2
        encode = Encoder(num_views * num_channels * window_pixels, encoder_net, z_what_size, layer)
        output_bias = torch.zeros(canvas.compositing.num_layers, window_pixels)
        output_bias[canvas.compositing.biased] = decoder_output_bias or 0.0
        decode = Decoder(
            output_bias.numel(),
            decoder_net,
            z_what_size,
            output_bias.flatten(),
            decoder_output_use_sigmoid,
            layer,
        )
        baseline: Baseline = NoBaseline()
        if use_baselines and baseline_decay is not None:
            baseline = MovingAverage(baseline_decay)
        elif use_baselines:
            baseline = NeuralBaseline(sizes, bl_predict_net, baseline_scalar, use_masking)

        self.num_channels = num_channels
        self.model = GenerativeModel(
            num_steps,
            z_what_size,
            z_where_prior,
            decode,
            canvas,
            likelihood.build(sizes, likelihood_sd),
            use_masking,
        )
        self.guide = Guide(
            num_steps,
            window_size,
            z_what_size,
            attend,
            encode,
            canvas.background,
            self.model.render,
            baseline,
            use_masking,
        )
        if use_cuda:
            self.cuda()

    def prior(
        self,
        n: int,
        *,
        z_pres_prior_p: PresencePrior = default_z_pres_prior_p,
        num_steps: int | None = None,
        x_size: int | None = None,
    ) -> tuple[tuple[list[Tensor], list[Tensor]], Tensor]:
        """Draw objects and the images that they make up; see `GenerativeModel.prior`."""
        return self.model.prior(
            n, z_pres_prior_p=z_pres_prior_p, num_steps=num_steps, x_size=x_size
        )

    def infer(
        self, images: Any, num_steps: int | None = None, *, sample: bool = False
    ) -> Posterior:
        """Find, count and describe the objects of a user's images; see `air.model.posterior.infer`.

        Args:
            images: (N, S, S) or, of a model of colour images, (N, S, S, 3), a tensor or array:
                uint8, bool, or floats in [0, 1]. S is one of `image_sizes`.
            num_steps: the most objects to look for; the model's own number by default.
            sample: draw, instead of posterior means and the most probable count.

        Raises:
            ValueError: there are no images, or they have another shape or type; floats are not
                finite or not in [0, 1], or bytes are 0 and 1; `num_steps` is below 1.
        """
        checked = checked_images(images, self.image_sizes, self.num_channels)
        return self.infer_scenes(checked, num_steps, sample=sample)

    def infer_scenes(
        self, images: Tensor, num_steps: int | None = None, *, sample: bool = False
    ) -> Posterior:
        """Do as `infer`, without a check: of images of scenes, which were checked all together.

        Args:
            images: (N, S, S) or (N, S, S, 3), uint8, or floats in [0, 1]; S is one of
                `image_sizes`.
            num_steps: the most objects to look for; the model's own number by default.
            sample: draw, instead of posterior means and the most probable count.
        """
        return infer(self.model, self.guide, images, num_steps, sample=sample)

    def start_at(self, images: Tensor, grounds: Tensor) -> None:
        """Begin with a background like those of training images.

        Args:
            images: (N, channels, x_size, x_size), some of them, floats in [0, 1].
            grounds: what has been found to lie behind their objects, likewise.
        """
        images, grounds = (of.to(self.device, self.dtype) for of in (images, grounds))
        self.model.canvas.background.start_at(images, grounds)

    @property
    def num_steps(self) -> int:
        """The most objects in an image."""
        return self.model.num_steps

    @property
    def x_size(self) -> int:
        """Width and height of an image, in pixels: of training, and of what is drawn."""
        return self.model.x_size

    @property
    def image_sizes(self) -> range:
        """The widths and heights of images that objects can be found in, in pixels.

        Where the guide takes images of any size, a window covers as many pixels in all of them.
        """
        if self.guide.any_size:
            return range(self.window_size, sys.maxsize)
        return range(self.x_size, self.x_size + 1)

    @property
    def window_size(self) -> int:
        """Width and height of a window, in pixels."""
        return self.guide.window_size

    @property
    def z_what_size(self) -> int:
        """Length of an object's appearance code."""
        return self.model.z_what_size

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.guide.z_where_init.device

    @property
    def dtype(self) -> torch.dtype:
        """The type of the parameters."""
        return self.guide.z_where_init.dtype

    @property
    def decode(self) -> Decoder:
        """The network from z_what to the pixels of a window."""
        return self.model.decode

    @property
    def encode(self) -> Encoder:
        """The network from a window to q(z_what)."""
        return self.guide.encode

    @property
    def rnn(self) -> nn.Module:
        """The recurrent network of the paper's attention, `recurrent`."""
        return self.guide.attention.get_submodule("rnn")

    @property
    def predict(self) -> nn.Module:
        """The network of the same from its state to q(z_pres) and q(z_where)."""
        return self.guide.attention.get_submodule("predict")
