"""The guide of AIR (Eslami et al., 2016, section 2): a recurrent network attends to the objects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from air.model.attention.look import Attention, ChoosePlace, Look, hottest
from air.model.baselines import Baseline
from air.model.canvas import Background, ObjectLatents
from air.model.images import in_type_of
from air.model.networks import Encoder
from air.model.parameters import ProgramModule, register, register_children
from air.model.presence import PresencePrior, default_z_pres_prior_p, presence
from air.model.sites import PLATE, Z_PRES, Z_WHAT, Z_WHERE, at_step
from air.model.windows import image_to_window


class Guide(ProgramModule):
    """The program `guide`: q(objects | image).

    Args:
        num_steps: the most objects in an image.
        window_size: width and height of a window, in pixels.
        z_what_size: length of an object's appearance code.
        attention: says whether there is a next object, and where to look.
        encode: from a window to q(z_what); where there is a background, from the same window of
            the image without it and of the image itself.
        background: infers what lies behind the objects.
        render: `GenerativeModel.render`, for the attention.
        baseline: for score-function gradients of z_pres.
        use_masking: whether z_where and z_what of absent objects leave the objective.
    """

    def __init__(
        self,
        num_steps: int,
        window_size: int,
        z_what_size: int,
        attention: Attention,
        encode: Encoder,
        background: Background,
        render: Callable[..., Tensor],
        baseline: Baseline,
        use_masking: bool,
    ) -> None:
        super().__init__()
        self.num_steps = num_steps
        self.window_size = window_size
        self.attention = attention
        self.encode = encode
        self.background = background
        self.render = render  # a method: the model is no part of the guide
        self.baseline = baseline
        self.use_masking = use_masking
        self.z_where_init = nn.Parameter(torch.zeros(3))
        self.z_what_init = nn.Parameter(torch.zeros(z_what_size))

    @property
    def any_size(self) -> bool:
        """Whether it takes images of any size, or of the model's own alone."""
        parts = (self.attention, self.background, self.baseline)
        return all(part.any_size for part in parts)

    def forward(
        self,
        data: Tensor,
        batch_size: int | None = None,
        *,
        z_pres_prior_p: PresencePrior = default_z_pres_prior_p,
        num_steps: int | None = None,
        background: Tensor | None = None,
        choose_place: ChoosePlace = hottest,
        teaches_background: bool = True,
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Infer the objects of images: the program itself.

        Args:
            data: (N, x_size, x_size) or (N, x_size, x_size, 3), pixels in [0, 1].
            batch_size: how many of the N images to subsample; None or N for all, in order.
            z_pres_prior_p: taken so that `SVI` can call model and guide alike; not used.
            num_steps: the most objects, if not the model's own number.
            background: what lies behind the objects, (N, channels, x_size, x_size), where that has
                been inferred.
            choose_place: where an attention that has a map looks.
            teaches_background: whether gradients reach the background's decoder, which the model
                shares; log q(z_background) has none of it in any case.

        Returns:
            z_where and z_pres: for each step a tensor (n, 3) and one (n, 1).
        """
        register_children(self.attention)
        register("encode", self.encode)
        register("background", self.background)
        register("z_where_init", self.z_where_init)
        register("z_what_init", self.z_what_init)
        register("bl_", self.baseline)

        with pyro.plate(
            PLATE, data.shape[0], subsample_size=batch_size, device=str(data.device)
        ) as index:
            batch = in_type_of(self.z_where_init, data[index])  # (n, channels, x_size, x_size)
            behind = self.background.infer(batch) if background is None else background[index]
            if behind is not None and not teaches_background:
                behind = behind.detach()
            render = partial(self.render, x_size=batch.shape[-1])
            attention = self.attention.start(batch, behind, render)
            baseline = self.baseline.start(batch)
            # One row for all images, so that the first step's products with it are taken once.
            latents = ObjectLatents(
                z_pres=batch.new_ones(1, 1),
                z_where=self.z_where_init.unsqueeze(0),
                z_what=self.z_what_init.unsqueeze(0),
            )
            z_where, z_pres = [], []
            for t in range(self.num_steps if num_steps is None else num_steps):
                look, attention = self.attention(attention, latents, choose_place)
                infer, baseline = self.baseline(baseline, latents)
                views = [look.view]
                if behind is not None:  # what is dark or light of its own accord
                    views.append(batch)
                latents = self.draw_object(t, look, views, latents.z_pres, infer)
                z_where.append(latents.z_where)
                z_pres.append(latents.z_pres)
            return z_where, z_pres

    def draw_object(
        self,
        t: int,
        look: Look,
        views: Sequence[Tensor],
        previous_z_pres: Tensor,
        infer: Any,
    ) -> ObjectLatents:
        """Draw the t-th object: is it there, where, and what is it?"""
        z_pres = pyro.sample(
            at_step(Z_PRES, t), presence(look.z_pres_logit, previous_z_pres), infer=infer
        )  # (n, 1)
        mask = z_pres > 0 if self.use_masking else True

        q_where = dist.Normal(look.z_where_loc, look.z_where_scale)
        z_where = pyro.sample(at_step(Z_WHERE, t), q_where.mask(mask).to_event(1))  # (n, 3)

        windows = [image_to_window(z_where.unsqueeze(-2), v, self.window_size) for v in views]
        q_what = dist.Normal(*self.encode(torch.cat(windows, 1).flatten(1)))
        z_what = pyro.sample(at_step(Z_WHAT, t), q_what.mask(mask).to_event(1))  # (n, z_what_size)
        return ObjectLatents(z_pres, z_where, z_what)
