"""The generative model of AIR (Eslami et al., 2016, section 3): objects that make up an image."""

from __future__ import annotations

from typing import NamedTuple

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from air.model.canvas import Canvas, Likelihood, ObjectLatents, Painted, together
from air.model.images import in_type_of, pictures
from air.model.networks import Decoder
from air.model.parameters import ProgramModule, register
from air.model.presence import PresencePrior, default_z_pres_prior_p, presence, prior_logit
from air.model.sites import OBS, PLATE, Z_PRES, Z_WHAT, Z_WHERE, at_step
from air.model.windows import WherePrior


class Scene(NamedTuple):
    """What an image is made of."""

    objects: ObjectLatents  # of several steps
    background: Tensor | None  # (n, channels, x_size, x_size), or None for black


class GenerativeModel(ProgramModule):
    """The program `model`: p(image, objects).

    Args:
        num_steps: the most objects in an image.
        z_what_size: length of an object's appearance code.
        z_where_prior: where objects are, before an image is seen.
        decode: from z_what to the pixels of a window.
        canvas: how objects become an image.
        likelihood: from a canvas to the distribution of images.
        use_masking: whether z_where and z_what of absent objects leave the objective.
    """

    def __init__(
        self,
        num_steps: int,
        z_what_size: int,
        z_where_prior: WherePrior,
        decode: Decoder,
        canvas: Canvas,
        likelihood: Likelihood,
        use_masking: bool,
    ) -> None:
        super().__init__()
        self.num_steps = num_steps
        self.z_what_size = z_what_size
        self.z_where_prior = z_where_prior
        self.decode = decode
        self.canvas = canvas
        self.likelihood = likelihood
        self.use_masking = use_masking

    @property
    def x_size(self) -> int:
        """Width and height of an image where nothing else is said, in pixels."""
        return self.z_where_prior.x_size

    def forward(
        self,
        data: Tensor,
        batch_size: int | None = None,
        *,
        z_pres_prior_p: PresencePrior = default_z_pres_prior_p,
        num_steps: int | None = None,
    ) -> None:
        """Explain images by objects: the program itself.

        Args:
            data: (N, x_size, x_size) or (N, x_size, x_size, 3), pixels in [0, 1].
            batch_size: as in the guide, which draws the subsample.
            z_pres_prior_p: step -> trial probability of its object.
            num_steps: the most objects, if not the model's own number.
        """
        register("decode", self.decode)
        register("background", self.canvas.background)
        register("compositing", self.canvas.compositing)
        register("likelihood", self.likelihood)
        with pyro.plate(PLATE, data.shape[0], device=str(data.device)) as index:
            batch = in_type_of(self.z_where_prior.mean, data[index])
            n, x_size = len(batch), batch.shape[-1]  # (n, channels, x_size, x_size)
            scene = self.draw(n, z_pres_prior_p, num_steps, x_size)
            pyro.sample(OBS, self.likelihood(self.paint(*scene, x_size)), obs=batch.flatten(1))

    def draw(
        self,
        n: int,
        z_pres_prior_p: PresencePrior,
        num_steps: int | None = None,
        x_size: int | None = None,
    ) -> Scene:
        """Draw n scenes: their sites, without images.

        Args:
            n: number of scenes.
            z_pres_prior_p: step -> trial probability of its object.
            num_steps: the most objects, if not the model's own number.
            x_size: width and height of an image, in pixels, if not the model's own.

        Raises:
            TypeError: the model is in half precision, which is for `infer` alone.
        """
        _check_precision(self.z_where_prior.mean)
        background = self.canvas.background.draw(n, x_size or self.x_size)
        steps: list[ObjectLatents] = []
        z_pres = self.z_where_prior.mean.new_ones(n, 1)
        for t in range(self.num_steps if num_steps is None else num_steps):
            steps.append(self.draw_object(t, z_pres, z_pres_prior_p, x_size))
            z_pres = steps[-1].z_pres
        return Scene(together(steps), background)

    def draw_object(
        self,
        t: int,
        previous_z_pres: Tensor,
        z_pres_prior_p: PresencePrior,
        x_size: int | None = None,
    ) -> ObjectLatents:
        """Draw the t-th object: is it there, where, and what is it?"""
        n = previous_z_pres.shape[-2]

        z_pres = pyro.sample(
            at_step(Z_PRES, t), presence(prior_logit(z_pres_prior_p(t)), previous_z_pres)
        )  # (n, 1)

        # Objects after the last present one are drawn like the others, because a batch has one
        # shape; masking takes them out of the objective, and z_pres out of the image.
        mask = z_pres > 0 if self.use_masking else True

        z_where = pyro.sample(
            at_step(Z_WHERE, t), self.where_prior(n, x_size).mask(mask).to_event(1)
        )  # (n, 3)

        z_what = pyro.sample(
            at_step(Z_WHAT, t), self.what_prior(n).mask(mask).to_event(1)
        )  # (n, z_what_size)
        return ObjectLatents(z_pres, z_where, z_what)

    def where_prior(self, n: int, x_size: int | None = None) -> dist.Normal:
        """Return p(z_where) of n objects, (n, 3), in images of a size; the model's by default."""
        mean, sd = self.z_where_prior.moments(x_size)
        return dist.Normal(mean.expand(n, 3), sd.expand(n, 3))

    def what_prior(self, n: int) -> dist.Normal:
        """Return p(z_what) of n objects, (n, z_what_size)."""
        zeros = self.z_where_prior.mean.new_zeros(n, self.z_what_size)
        return dist.Normal(zeros, zeros + 1)

    def paint(
        self,
        objects: ObjectLatents,
        background: Tensor | None = None,
        x_size: int | None = None,
    ) -> Painted:
        """Decode the objects of scenes, place them and compose those that are present.

        Args:
            objects: z_pres (..., n, num_steps), whose leading dimensions hold other choices among
                the same objects; z_where (n, num_steps, 3); z_what (n, num_steps, z_what_size).
            background: (n, channels, x_size, x_size), or None for black.
            x_size: width and height of an image, in pixels, if not the model's own.
        """
        layers = self.placed(objects.z_where, objects.z_what, x_size)
        painted: Painted = self.canvas.compositing(objects.z_pres, layers, background)
        return painted

    def render(
        self,
        objects: ObjectLatents,
        background: Tensor | None = None,
        x_size: int | None = None,
    ) -> Tensor:
        """Return the images that scenes come to; as `paint`.

        Returns:
            (..., n, x_size, x_size) or, in colour, (..., n, x_size, x_size, 3).
        """
        return self.shown(self.paint(objects, background, x_size), x_size)

    def shown(self, painted: Painted, x_size: int | None = None) -> Tensor:
        """Return canvases as images; see `render`."""
        size = x_size or self.x_size
        return pictures(painted.pixels.unflatten(-1, (-1, size, size)))

    def windows(self, z_what: Tensor) -> Tensor:
        """Decode objects (..., z_what_size) to pictures (..., window_size, window_size[, 3])."""
        return pictures(self.canvas.compositing.alone(self.canvas.layers(self.decode(z_what))))

    def alone(self, z_where: Tensor, z_what: Tensor, x_size: int | None = None) -> Tensor:
        """Decode objects and show each of them by itself, where it is.

        Args:
            z_where: (n, num_steps, 3).
            z_what: (n, num_steps, z_what_size).
            x_size: width and height of an image, in pixels, if not the model's own.

        Returns:
            (n, num_steps, x_size, x_size) or, in colour, (n, num_steps, x_size, x_size, 3).
        """
        return pictures(self.canvas.compositing.alone(self.placed(z_where, z_what, x_size)))

    def render_and_segment(
        self,
        objects: ObjectLatents,
        background: Tensor | None = None,
        x_size: int | None = None,
        images: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Do as `render`, and say what each pixel most probably shows.

        Where objects cover one another, a mask is the probability that its object is what a pixel
        shows. Masks are blurred; the images tell on which side of an edge a pixel lies, by Bayes'
        rule.

        Args:
            objects: z_pres (n, num_steps); z_where (n, num_steps, 3); z_what (n, num_steps,
                z_what_size).
            background: (n, channels, x_size, x_size), or None for black.
            x_size: width and height of an image, in pixels, if not the model's own.
            images: (n, channels, x_size, x_size), in which the objects were found, if they were.

        Returns:
            The rendered images, and (n, x_size, x_size) uint8: 0 for the background, t + 1 for the
            t-th object.
        """
        compositing = self.canvas.compositing
        layers = self.placed(objects.z_where, objects.z_what, x_size)
        rendered = self.shown(compositing(objects.z_pres, layers, background), x_size)
        shares = compositing.shares(objects.z_pres, layers)  # (n, 1 + num_steps, S, S)
        alone = None if images is None else compositing.uncovered(layers)
        if images is not None and alone is not None:
            behind = torch.zeros_like(images) if background is None else background
            parts = torch.cat((behind.unsqueeze(1), alone), 1)  # (n, 1 + num_steps, channels, S, S)
            shares = shares.log() + self.likelihood.of_pixels(images.unsqueeze(1), parts)
        return rendered, shares.argmax(1).to(torch.uint8)

    def coverage(self, z_where: Tensor, z_what: Tensor, x_size: int | None = None) -> Tensor:
        """Decode objects and say how much of each pixel each of them takes, were it alone.

        Args:
            z_where: (..., n, num_steps, 3); leading dimensions hold other places of the objects.
            z_what: (n, num_steps, z_what_size).
            x_size: width and height of a canvas, in pixels, if not the model's own.

        Returns:
            (..., n, num_steps, x_size, x_size), mostly in [0, 1].
        """
        return self.canvas.compositing.coverage(self.placed(z_where, z_what, x_size))

    def placed(self, z_where: Tensor, z_what: Tensor, x_size: int | None = None) -> Tensor:
        """Decode objects and place each on a canvas of its own; see `Canvas.place`."""
        return self.canvas.place(z_where, self.decode(z_what), x_size or self.x_size)

    def prior(
        self,
        n: int,
        *,
        z_pres_prior_p: PresencePrior = default_z_pres_prior_p,
        num_steps: int | None = None,
        x_size: int | None = None,
    ) -> tuple[tuple[list[Tensor], list[Tensor]], Tensor]:
        """Draw objects and the images that they make up.

        Args:
            n: number of images.
            z_pres_prior_p: step -> trial probability of its object.
            num_steps: the most objects, if not the model's own number.
            x_size: width and height of an image, in pixels, if not the model's own.

        Returns:
            `((z_where, z_pres), images)`: a tensor (n, 3) and one (n, 1) for each step, and images
            (n, x_size, x_size) or, in colour, (n, x_size, x_size, 3).
        """
        scene = self.draw(n, z_pres_prior_p, num_steps, x_size)
        z_pres, z_where, _ = scene.objects
        steps = list(z_where.unbind(-2)), list(z_pres.split(1, -1))
        return steps, self.render(*scene, x_size)


def _check_precision(like: Tensor) -> None:
    """Refuse types in which a log density moves in steps of nats: of 4 near 1000 in bfloat16."""
    half = like.dtype in (torch.float16, torch.bfloat16)
    if half or torch.is_autocast_enabled(like.device.type):
        raise TypeError(
            "AIR must be in float32 or float64 but for infer, where half precision will do, got "
            f"{like.dtype if half else 'autocast'}"
        )
