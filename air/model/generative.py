"""The generative model of AIR (Eslami et al., 2016, section 3): objects that add up to an image."""

from __future__ import annotations

from typing import NamedTuple

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from air.model.images import in_type_of
from air.model.likelihood.normal import CanvasNormal
from air.model.networks import Decoder
from air.model.parameters import register
from air.model.presence import PresencePrior, default_z_pres_prior_p, presence, prior_logit
from air.model.windows import window_to_image


class ObjectLatents(NamedTuple):
    """What the generative model draws; where there are several steps, before the last dimension."""

    z_pres: Tensor  # (N, 1) of one step, (N, num_steps) of several
    z_where: Tensor  # (N, 3) or (N, num_steps, 3)
    z_what: Tensor  # (N, z_what_size) or (N, num_steps, z_what_size)


class GenerativeModel(nn.Module):
    """The programs `model` and `prior`; `air.model.air.AIR` gives them their sizes and networks."""

    num_steps: int
    x_size: int
    window_size: int
    z_what_size: int
    use_masking: bool
    likelihood_sd: float
    z_where_prior_mean: Tensor  # (3,)
    z_where_prior_sd: Tensor  # (3,)
    decode: Decoder

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
        register("decode", self.decode)
        with pyro.plate("data", data.shape[0], device=str(data.device)) as index:
            batch = in_type_of(self.z_where_prior_mean, data[index])  # (n, x_size, x_size)
            latents = self.draw(batch.shape[0], z_pres_prior_p, num_steps)
            objects = self.place(latents.z_where, latents.z_what)
            pyro.sample(
                "obs",
                CanvasNormal(latents.z_pres, objects.flatten(-2), self.likelihood_sd),
                obs=batch.flatten(-2),
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
        z_pres, z_where, z_what = self.draw(n, z_pres_prior_p, num_steps)
        canvas = self.render(z_pres, z_where, z_what)
        return (list(z_where.unbind(-2)), list(z_pres.split(1, -1))), canvas

    def draw(
        self, n: int, z_pres_prior_p: PresencePrior, num_steps: int | None = None
    ) -> ObjectLatents:
        """Draw the latents of n images: as `prior`, with a dimension of steps before the last.

        Raises:
            TypeError: the model is in half precision, which is for `infer` alone.
        """
        _check_precision(self.z_where_prior_mean)
        steps: list[ObjectLatents] = []
        z_pres = self.z_where_prior_mean.new_ones(n, 1)
        for t in range(self.num_steps if num_steps is None else num_steps):
            steps.append(self.prior_step(t, z_pres, z_pres_prior_p))
            z_pres = steps[-1].z_pres
        return ObjectLatents(
            torch.cat([step.z_pres for step in steps], -1),  # (n, num_steps)
            torch.stack([step.z_where for step in steps], -2),  # (n, num_steps, 3)
            torch.stack([step.z_what for step in steps], -2),  # (n, num_steps, z_what_size)
        )

    def prior_step(
        self, t: int, previous_z_pres: Tensor, z_pres_prior_p: PresencePrior
    ) -> ObjectLatents:
        """Draw the t-th object: is it there, where, and what is it?"""
        n = previous_z_pres.shape[-2]

        z_pres = pyro.sample(
            f"z_pres_{t}", presence(prior_logit(z_pres_prior_p(t)), previous_z_pres)
        )  # (n, 1)

        # Objects after the last present one are drawn like the others, because a batch has one
        # shape; masking takes them out of the objective, and z_pres out of the image.
        mask = z_pres > 0 if self.use_masking else True

        z_where = pyro.sample(
            f"z_where_{t}",
            dist.Normal(self.z_where_prior_mean.expand(n, 3), self.z_where_prior_sd.expand(n, 3))
            .mask(mask)
            .to_event(1),
        )  # (n, 3)

        zeros = z_where.new_zeros(n, self.z_what_size)
        z_what = pyro.sample(
            f"z_what_{t}", dist.Normal(zeros, zeros + 1).mask(mask).to_event(1)
        )  # (n, z_what_size)
        return ObjectLatents(z_pres, z_where, z_what)

    def place(self, z_where: Tensor, z_what: Tensor) -> Tensor:
        """Decode objects and place each on a canvas of its own.

        The steps do not depend on one another here, so one pass does all of them.

        Args:
            z_where: (n, num_steps, 3).
            z_what: (n, num_steps, z_what_size).

        Returns:
            (n, num_steps, x_size, x_size).
        """
        windows = self.decode(z_what).unflatten(-1, (self.window_size, self.window_size))
        return window_to_image(z_where, windows, self.x_size)

    def render(self, z_pres: Tensor, z_where: Tensor, z_what: Tensor) -> Tensor:
        """Add up the objects that are present.

        There is no occlusion: overlapping objects add up, beyond 1 if they must.

        Args:
            z_pres: (..., n, num_steps), 0 or 1; further leading dimensions render the same objects
                with other choices among them.
            z_where: (n, num_steps, 3).
            z_what: (n, num_steps, z_what_size).

        Returns:
            (..., n, x_size, x_size) canvases.
        """
        return torch.einsum("...nt,ntij->...nij", z_pres, self.place(z_where, z_what))


def _check_precision(like: Tensor) -> None:
    """Refuse types in which a log density moves in steps of nats: of 4 near 1000 in bfloat16."""
    half = like.dtype in (torch.float16, torch.bfloat16)
    if half or torch.is_autocast_enabled(like.device.type):
        raise TypeError(
            "AIR must be in float32 or float64 but for infer, where half precision will do, got "
            f"{like.dtype if half else 'autocast'}"
        )
