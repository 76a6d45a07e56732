"""Model and guide in Pyro's parameter store, which is one for the whole process and knows names."""

from __future__ import annotations

import warnings
from typing import Any

import pyro
from pyro.params import param_with_module_name
from pyro.poutine.messenger import Messenger
from pyro.poutine.runtime import am_i_wrapped
from torch import nn


def register(name: str, of: nn.Module | nn.Parameter) -> None:
    """Make parameters known to Pyro, so that `SVI` trains them: `pyro.module` and `pyro.param`.

    Those hand out what the store has, and so would have `SVI` train an earlier model under the same
    names; here the model that runs is the one that is trained. A program that is called without any
    handler cannot be training, and leaves the store alone.

    Args:
        name: in the store; a module's parameters have theirs behind it.
        of: the parameters.
    """
    if not am_i_wrapped():
        return
    if isinstance(of, nn.Parameter):
        _register(name, of)
        return
    for inner, parameter in of.named_parameters():
        _register(param_with_module_name(name, inner), parameter)


def register_children(module: nn.Module) -> None:
    """Make a module's parameters known to Pyro under the names that its own parts have in it."""
    for name, child in module.named_children():
        register(name, child)
    for name, parameter in module.named_parameters(recurse=False):
        register(name, parameter)


def _register(name: str, parameter: nn.Parameter) -> None:
    if not parameter.requires_grad or pyro.param(name, parameter) is parameter:
        return
    store = pyro.get_param_store()
    if name not in store or store[name] is parameter:
        return  # a handler has put something in its place, which is the handler's business
    warnings.warn(
        "Pyro's parameter store held other parameters under the names of this model's, such as "
        "an earlier model's or a file's; it holds this model's from now on, beside averages of "
        "baselines. Call pyro.clear_param_store() before a new model, and load weights with "
        "load_state_dict",
        stacklevel=1,  # one place, and so said once
    )
    store[name] = parameter
    pyro.param(name, parameter)


class ProgramModule(nn.Module):
    """A module that runs as a program, or holds such, and can be pickled after Pyro trained it."""

    def __getstate__(self) -> dict[str, Any]:
        """Return what pickle takes: without the weak references that Pyro hangs on parameters."""
        for parameter in self.parameters():
            vars(parameter).pop("unconstrained", None)
        state: dict[str, Any] = super().__getstate__()
        return state


class OwnParameters(Messenger):
    """Gives programs the parameters that they have, and leaves Pyro's store alone."""

    def _pyro_param(self, message: Any) -> None:
        _, message["value"] = message["args"]
        message["done"] = True
