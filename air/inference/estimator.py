"""What the trainer asks of an estimator, and what an estimate is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from pyro.infer import ELBO
from torch import Tensor

from air.model.full_path import FullPath

Program = Callable[..., Any]


class Estimate(NamedTuple):
    """What an estimator, or the whole objective, says of a batch.

    Attributes:
        loss: a scalar whose value is minimised and whose gradient estimates the gradient of its
            expectation; in nats, summed over images.
        metrics: detached scalars by name, summed over images; an estimator of the ELBO has "elbo",
            "likelihood" and the KL divergences that it is less by, such as "kl_pres".
        path: what the guide said of the batch with every object present, where it was asked.
    """

    loss: Tensor
    metrics: dict[str, Tensor]
    path: FullPath | None = None


class Estimator(Protocol):
    """Also the `loss` of Pyro's `SVI`, as every `pyro.infer.ELBO` is."""

    def estimate(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> Estimate:
        """Estimate the loss of a batch.

        Args:
            model: a program with the sites of `air.model.generative.GenerativeModel`.
            guide: a program with the sites of `air.model.guide.Guide`.
            *args: the programs' arguments.
            **kwargs: the programs' keyword arguments.
        """
        ...

    def loss(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> float:
        """Return the loss alone."""
        ...

    def loss_and_grads(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> float:
        """Return the loss and add its gradient to every parameter's."""
        ...


@runtime_checkable
class Scheduled(Estimator, Protocol):
    """An estimator of which something changes from iteration to iteration."""

    def at(self, **scheduled: Tensor) -> Estimator:
        """Return the same estimator with the values that its schedule has now, a scalar each."""
        ...


class SurrogateELBO(ELBO):
    """An estimator that defines `estimate` alone; how many draws it takes is its own matter."""

    def __init__(self) -> None:
        super().__init__()

    def estimate(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> Estimate:
        """Estimate the loss of a batch; see `Estimator`."""
        raise NotImplementedError

    def _get_trace(self, model: Program, guide: Program, args: Any, kwargs: Any) -> Any:
        raise NotImplementedError  # `estimate` runs the programs as it needs

    def loss(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> float:
        """Return the loss alone."""
        with torch.no_grad():
            return self.estimate(model, guide, *args, **kwargs).loss.item()

    def loss_and_grads(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> float:
        """Return the loss and add its gradient to every parameter's."""
        loss = self.estimate(model, guide, *args, **kwargs).loss
        loss.backward()
        return loss.item()


def elbo_and(parts: Mapping[str, Tensor], surrogate: Tensor, path: FullPath | None) -> Estimate:
    """Return an estimate that has the value of the ELBO, and the gradient of it and a surrogate.

    Args:
        parts: of the ELBO, summed over images.
        surrogate: a scalar, of whose value nothing is left; summed and scaled as the parts are.
        path: what the guide said of the batch with every object present, where it was asked.
    """
    return Estimate(surrogate.detach() - surrogate - elbo_of(parts), elbo_metrics(parts), path)


def elbo_of(parts: Mapping[str, Tensor]) -> Tensor:
    """Return the ELBO: the likelihood, less every KL divergence."""
    elbo = parts["likelihood"]
    for name, part in parts.items():
        if name.startswith("kl_"):
            elbo = elbo - part
    return elbo


def elbo_metrics(parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the ELBO and its parts as metrics, without their graph."""
    return {name: value.detach() for name, value in {"elbo": elbo_of(parts), **parts}.items()}


def kl_name(latent: str) -> str:
    """Return the name of a latent's KL divergence: "z_where" -> "kl_where"."""
    return f"kl_{latent.removeprefix('z_')}"
