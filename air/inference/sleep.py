"""The sleep phase (Hinton et al., 1995): the guide learns from scenes that the model dreams."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor

from air.generative import ObjectLatents
from air.model import AIR


class Dreams(NamedTuple):
    """Scenes of the model's own making, whose objects are known."""

    objects: ObjectLatents  # with a dimension of steps before the last
    images: Tensor  # (n, x_size, x_size), in [0, 1]


class SleepPhase:
    """Adds -log q(z_pres, z_where | dream) to the objective.

    The ELBO alone lets the guide overlook an object once it explains two of them as one: nothing
    draws its attention to the second. In a dream it is told that there are two. No labels enter,
    because dreams come from the model, and no gradient reaches the model. The appearance codes are
    left out: the ELBO teaches them well, and a dreamt code need not look like anything real.

    Args:
        weight: of a dream's -log q against an image's -ELBO.
        batch_size: dreams in a step.
        max_objects: dreams have 0 to so many objects, uniformly; never more than the model has
            steps, which is what None means.
    """

    def __init__(self, weight: float, batch_size: int, max_objects: int | None = None) -> None:
        self.weight = weight
        self.batch_size = batch_size
        self.max_objects = max_objects

    def dream(self, model: AIR) -> Dreams:
        """Draw scenes: counts uniformly, all else from the model's prior."""
        with torch.no_grad():
            drawn = model.draw(self.batch_size, lambda t: 0.5)  # its z_pres is not used
            device = drawn.z_pres.device
            most = min(self.max_objects or model.num_steps, model.num_steps)
            count = torch.randint(most + 1, (self.batch_size, 1), device=device)
            z_pres = (torch.arange(model.num_steps, device=device) < count).to(drawn.z_pres)
            objects = drawn._replace(z_pres=z_pres)
            # Real pixels end at 1, and no noise is added to them.
            return Dreams(objects, model.render(*objects).clamp(0, 1))

    def surrogate_loss(self, model: AIR) -> Tensor:
        """Return the mean of -log q over new dreams, in nats: a scalar to differentiate."""
        dreams = self.dream(model)
        return -recalled(model, dreams).mean()


def recalled(model: AIR, dreams: Dreams) -> Tensor:
    """Return log q(z_pres, z_where) of dreamt objects under the guide, (n,).

    The order of a scene's objects means nothing, so at each step the guide is told of that object
    among those left which it holds most likely, and goes on from there.

    Args:
        model: whose guide is asked.
        dreams: scenes and their objects.
    """
    recall = _Recall(dreams.objects)
    with recall:
        model.guide(dreams.images)
    return recall.log_q


class _Recall(Messenger):
    """Gives the guide's sites the objects of a scene, the likeliest first, and adds up log q."""

    def __init__(self, objects: ObjectLatents) -> None:
        super().__init__()
        self.objects = objects
        self.left = objects.z_pres > 0  # (n, num_steps)
        self.log_q = objects.z_pres.new_zeros(len(objects.z_pres))
        self.chosen = self.left.new_zeros(len(self.left), dtype=torch.long)  # (n,)

    def _pyro_sample(self, message: Any) -> None:
        name, fn = message["name"], message["fn"]
        present = self.left.any(-1)  # (n,)
        if name.startswith("z_pres_"):
            message["value"] = present.unsqueeze(-1).to(self.log_q)
            self.log_q = self.log_q + fn.log_prob(message["value"])
        elif name.startswith("z_where_"):
            log_q = fn.log_prob(self.objects.z_where.movedim(-2, 0)).mT  # (n, num_steps)
            self.chosen = log_q.masked_fill(~self.left, -torch.inf).argmax(-1)
            chosen = log_q.gather(-1, self.chosen.unsqueeze(-1)).squeeze(-1)
            self.log_q = self.log_q + torch.where(present, chosen, 0.0)
            message["value"] = self._chosen(self.objects.z_where)
        elif name.startswith("z_what_"):
            message["value"] = self._chosen(self.objects.z_what)
            self.left = self.left.scatter(-1, self.chosen.unsqueeze(-1), False)
        else:
            return
        message["done"] = True

    def _chosen(self, latents: Tensor) -> Tensor:
        return latents.take_along_dim(self.chosen[:, None, None], dim=-2).squeeze(-2)
