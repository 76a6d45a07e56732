"""The sleep phase (Hinton et al., 1995): the guide learns from scenes that the model dreams."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
from pyro import poutine
from pyro.poutine.messenger import Messenger
from torch import Tensor

from air.inference.arrangement import arranged
from air.model.air import AIR
from air.model.attention.look import Places, foreground_of, hottest
from air.model.canvas import ObjectLatents
from air.model.full_path import FullPath, full_path
from air.model.guide import Guide
from air.model.images import in_type_of
from air.model.sites import Z_PRES, Z_WHAT, Z_WHERE, latent_of
from air.model.windows import away_from_zero

Codes = Literal["prior", "posterior"]

_SD_OF_MEDIAN = 1.4826  # of a normal's absolute values
_MAX_SAMPLE = 10_000  # pixels for a median
_NEAR = 0.45  # windows, from an object's centre to the places that stand for it
_COVERED = 0.1  # the hidden share of an object from which on it is found after what hides it
_HIDDEN = 0.75  # the share from which on nobody would see that it is there


class Dreams(NamedTuple):
    """Scenes of the model's own making, whose objects are known."""

    objects: ObjectLatents  # with a dimension of steps before the last
    images: Tensor  # (n, x_size, x_size) or (n, x_size, x_size, 3), in [0, 1]
    hidden: Tensor | None = None  # (n, num_steps, num_steps), see `Compositing.hidden`


class SleepPhase:
    """A term of the objective: -log q(z_pres, z_where | dream).

    The ELBO alone lets the guide overlook an object once it explains two of them as one: nothing
    draws its attention to the second. In a dream it is told that there are two. No labels enter,
    because dreams come from the model, and no gradient reaches the model. The appearance codes are
    left out: the ELBO teaches them well, and a dreamt code need not look like anything real.
    Codes of the prior decode to blurred digits, or to none; those of objects found in real images
    make dreams that look like them.

    Args:
        weight: of a dream's -log q against an image's -ELBO.
        batch_size: dreams in a step.
        max_objects: dreams have 0 to so many objects, uniformly; never more than the model has
            steps, which is what None means.
        codes: where z_what comes from: the prior, or objects that the guide finds in the batch.
        num_places: tried for each object of a dream, so that objects do not pile up.
        touching: the share of objects that lie beside another one of the dream.
        noise: whether dreams have pixel noise, as large as that of the batch's backgrounds.
    """

    def __init__(
        self,
        weight: float,
        batch_size: int,
        max_objects: int | None = None,
        codes: Codes = "prior",
        num_places: int = 1,
        touching: float = 0.0,
        noise: bool = False,
    ) -> None:
        self.name = "sleep"
        self.weight = weight
        self.batch_size = batch_size
        self.max_objects = max_objects
        self.codes = codes
        self.num_places = num_places
        self.touching = touching
        self.noise = noise

    def __call__(self, air: AIR, images: Tensor, path: FullPath | None = None) -> Tensor:
        """Return the mean of -log q over new dreams, in nats; see `Term`."""
        return -recalled(air.guide, self.dream(air, images, path)).mean()

    @torch.no_grad()
    def dream(self, air: AIR, images: Tensor, path: FullPath | None = None) -> Dreams:
        """Draw scenes: counts uniformly, z_where as `arranged` says, z_what as `codes` says.

        Args:
            air: what dreams.
            images: (N, x_size, x_size) or (N, x_size, x_size, 3), in [0, 1]: whose objects'
                codes and whose backgrounds may be used.
            path: the guide's on these images; without it the guide is asked again.
        """
        like_the_batch = self.codes == "posterior"
        if path is None and (like_the_batch or self.noise):
            path = full_path(air.guide, images)
        behind = shuffled(backgrounds(path), self.batch_size) if path and like_the_batch else {}
        with poutine.condition(data=behind):
            # z_pres is not used.
            objects, background = air.model.draw(self.batch_size, lambda t: 0.5)
        device = objects.z_pres.device
        most = min(self.max_objects or air.num_steps, air.num_steps)
        count = torch.randint(most + 1, (self.batch_size, 1), device=device)
        z_pres = (torch.arange(air.num_steps, device=device) < count).to(objects.z_pres)
        objects = objects._replace(z_pres=z_pres)
        if path and like_the_batch:
            z_what = found_codes(path, z_pres.numel()).view_as(objects.z_what)
            objects = objects._replace(z_what=z_what)
        z_where = arranged(air.model, objects, self.num_places, self.touching)
        objects = objects._replace(z_where=z_where)
        compositing = air.model.canvas.compositing
        layers = air.model.placed(objects.z_where, objects.z_what)
        dreamt = air.model.shown(compositing(z_pres, layers, background))
        if path and self.noise:
            dreamt = dreamt + noise_sd(air, images, path) * torch.randn_like(dreamt)
        dreamt = air.model.likelihood.exposed(dreamt)
        return Dreams(objects, dreamt, compositing.hidden(z_pres, layers))


def backgrounds(path: FullPath) -> dict[str, Tensor]:
    """Return the latents of what a guide finds behind the objects, by their sites."""
    return {name: path.trace.nodes[name]["value"] for name in path.q if latent_of(name) == name}


def shuffled(latents: dict[str, Tensor], num: int) -> dict[str, Tensor]:
    """Return latents (N, …) of as many images, drawn with replacement, all of the same ones."""
    for value in latents.values():
        which = torch.randint(len(value), (num,), device=value.device)
        return {name: of_each[which] for name, of_each in latents.items()}
    return {}


def noise_sd(air: AIR, images: Tensor, path: FullPath) -> Tensor:
    """Estimate the standard deviation of pixels around what lies behind the objects, a scalar.

    It is taken from the median of distances, as most pixels show no object.

    Args:
        air: whose background it is.
        images: (N, x_size, x_size) or (N, x_size, x_size, 3), in [0, 1].
        path: the guide's on these images.
    """
    batch = in_type_of(air.guide.z_where_init, images)
    with poutine.condition(data=backgrounds(path)):
        background = air.model.canvas.background.draw(len(batch), batch.shape[-1])
    distance = foreground_of(batch, background)
    some = distance.flatten()[:: max(1, distance.numel() // _MAX_SAMPLE)]
    return _SD_OF_MEDIAN * some.abs().median()


def found_codes(path: FullPath, num: int) -> Tensor:
    """Draw z_what of objects that a guide finds in images, (num, z_what_size), with replacement.

    Args:
        path: the guide's on these images.
        num: how many; a step counts with the probability that it has an object.
    """
    # Never 0, so that there is something to draw before any object is found.
    ends = path.presence_logits.sigmoid().cumprod(-1).clamp(min=1e-6).flatten().cumsum(0)  # (N T,)
    # As torch.multinomial, but without its checks, for which a GPU's host would wait.
    places = torch.rand(num, dtype=ends.dtype, device=ends.device) * ends[-1]
    drawn = torch.searchsorted(ends, places)
    return path.z_what.flatten(0, 1)[drawn.clamp(max=len(ends) - 1)]


def recalled(guide: Guide, dreams: Dreams) -> Tensor:
    """Return log q(z_pres, z_where) of dreamt objects under a guide, (n,).

    At each step the guide is told of that object among those left which it holds most likely, and
    continues from there.

    Where objects hide one another, those left are the ones in front: the model has no other order
    for them. It is not asked for an object that is hidden almost whole. An attention with a map
    that would look at none of them is told to look at one then, and log q(place) is added, with
    q(place) proportional to e^heat: so it learns what comes first, and how much of an object's
    surroundings is taken, which a choice of the hottest place alone does not teach. (Where objects
    add up, any order will do; being told where to look costs a few counts there.)

    Args:
        guide: is asked.
        dreams: scenes and their objects.
    """
    recall = Recall(dreams.objects, dreams.hidden)
    with torch.no_grad():  # dreams teach the guide about objects, and the model nothing
        images = in_type_of(guide.z_where_init, dreams.images)
        background = guide.background.infer(images)
    with recall:
        choose_place = hottest if dreams.hidden is None else recall.choose_place
        guide(dreams.images, background=background, choose_place=choose_place)
    return recall.log_q


class Recall(Messenger):
    """Gives the guide's sites the objects of a scene, the likeliest first, and adds up log q."""

    def __init__(self, objects: ObjectLatents, hidden: Tensor | None) -> None:
        super().__init__()
        self.objects = objects
        self.left = objects.z_pres > 0  # (n, num_steps)
        self.behind: Tensor | None = None  # (n, num_steps, num_steps), by what
        if hidden is not None:
            self.left = self.left & (hidden.sum(-1) < _HIDDEN)
            self.behind = hidden > _COVERED
        self.log_q = objects.z_pres.new_zeros(len(objects.z_pres))
        self.lost = self.left.new_zeros(len(self.left))  # (n,), told where to look in this step
        self.chosen = self.lost.long()  # (n,), the object that is told in this step

    def choose_place(self, places: Places) -> Tensor:
        """Look at the hottest place or, if no object that may be told is there, at one.

        In the latter case, log q of looking there is added up; see `ChoosePlace`.
        """
        best = hottest(places)
        around = near(self.objects, places.centres)  # (n, num_steps, G²)
        found = around.take_along_dim(best.unsqueeze(1), -1).squeeze(-1) & self._in_front()
        self.lost = self.left.any(-1) & ~found.any(-1)
        log_q = places.heat.log_softmax(-1).unsqueeze(1).masked_fill(~around, -torch.inf)
        of_objects = log_q.logsumexp(-1)  # (n, num_steps)
        self.chosen = self._likeliest(of_objects)
        self._add(of_objects, self.lost)
        told = log_q.take_along_dim(self.chosen[:, None, None], 1).squeeze(1)
        return torch.where(self.lost.unsqueeze(-1), told.argmax(-1, keepdim=True), best)

    def _pyro_sample(self, message: Any) -> None:
        latent, fn = latent_of(message["name"]), message["fn"]
        if latent == Z_PRES:
            message["value"] = self.left.any(-1, keepdim=True).to(self.log_q)
            self.log_q = self.log_q + fn.log_prob(message["value"])
        elif latent == Z_WHERE:
            log_q = fn.log_prob(self.objects.z_where.movedim(-2, 0)).mT  # (n, num_steps)
            self.chosen = torch.where(self.lost, self.chosen, self._likeliest(log_q))
            self._add(log_q, self.left.any(-1))
            message["value"] = self._chosen(self.objects.z_where)
        elif latent == Z_WHAT:
            message["value"] = self._chosen(self.objects.z_what)
            self.left = self.left.scatter(-1, self.chosen.unsqueeze(-1), False)
        else:
            return
        message["done"] = True

    def _likeliest(self, log_q: Tensor) -> Tensor:
        """Return which of the objects that may be told has the largest of (n, num_steps)."""
        return log_q.masked_fill(~self._in_front(), -torch.inf).argmax(-1)

    def _add(self, log_q: Tensor, where: Tensor) -> None:
        """Add what (n, num_steps) has of the chosen object, in some of the scenes, (n,)."""
        of_chosen = log_q.gather(-1, self.chosen.unsqueeze(-1)).squeeze(-1)
        self.log_q = self.log_q + torch.where(where, of_chosen, 0.0)

    def _in_front(self) -> Tensor:
        """Return which of the objects that are left are behind none of them, (n, num_steps)."""
        if self.behind is None:
            return self.left
        return self.left & ~(self.behind & self.left.unsqueeze(-2)).any(-1)

    def _chosen(self, latents: Tensor) -> Tensor:
        return latents.take_along_dim(self.chosen[:, None, None], dim=-2).squeeze(-2)


def near(objects: ObjectLatents, centres: Tensor) -> Tensor:
    """Return which places of a map are around the centre of which object, (n, num_steps, G²).

    There is one for every object: beyond the image's edge, the nearest that is within.

    Args:
        objects: of n scenes.
        centres: (G,), coordinates of the places along an axis.
    """
    scale = away_from_zero(objects.z_where[..., :1])
    centre = (-objects.z_where[..., 1:] / scale).clamp(centres[0], centres[-1])
    # A window is 2 / scale wide. More than half a place, so that there is one in any case.
    reach = torch.maximum(_NEAR * 2 / scale.abs(), 0.6 * (centres[1] - centres[0]))
    distance = (centres - centre.unsqueeze(-1)).abs()  # (n, num_steps, 2, G)
    x, y = (distance <= reach.unsqueeze(-1)).unbind(-2)
    return (y.unsqueeze(-1) & x.unsqueeze(-2)).flatten(-2)
