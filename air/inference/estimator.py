"""What the trainer asks of an estimator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor

# The parts of the objective: elbo = likelihood - kl_pres - kl_where - kl_what.
PARTS = ("likelihood", "kl_pres", "kl_where", "kl_what")


class Estimator(Protocol):
    """A `pyro.infer.ELBO` that also tells what its last estimate was made of.

    Attributes:
        parts: of the last call, each a detached scalar tensor, in nats, summed over images.
    """

    parts: dict[str, Tensor]

    def surrogate_loss(
        self, model: Callable[..., Any], guide: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Tensor:
        """Return a scalar whose gradient estimates that of -ELBO, summed over images."""
        ...

    def loss(
        self, model: Callable[..., Any], guide: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> float:
        """Return an estimate of -ELBO, summed over images, in nats."""
        ...

    def loss_and_grads(
        self, model: Callable[..., Any], guide: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> float:
        """Return an estimate of -ELBO and add that of its gradient to every parameter's."""
        ...


def latent_sites(trace: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name and node of every z_pres, z_where and z_what, in the order of drawing."""
    for name, node in trace.nodes.items():
        if node["type"] == "sample" and name.startswith("z_"):
            yield name, node


def latent_part(site_name: str) -> str:
    """Return the part that a latent site belongs to: "z_where_2" -> "kl_where"."""
    return "kl_" + site_name.split("_")[1]


def elbo_of(parts: dict[str, Tensor]) -> Tensor:
    """Put the parts together."""
    return parts["likelihood"] - parts["kl_pres"] - parts["kl_where"] - parts["kl_what"]


def detached(parts: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the parts without their graph, each as a scalar tensor."""
    return {name: torch.as_tensor(parts[name]).detach() for name in PARTS}
