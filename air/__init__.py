"""Attend, Infer, Repeat: find, count and describe the objects in an image, without labels.

`AIR` is the model and its guide; `load` gives a trained one back, and `load_pyro` one that Pyro's
`examples/air` trained. All are imported on first use, so that `import air.config` stays light.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from air.model.air import AIR
    from air.model.posterior import Posterior
    from air.runs.checkpoint import load
    from air.runs.pyro_example import latents_to_tensor, load_pyro, z_where_inv

__version__ = "0.1.0"
__all__ = ["AIR", "Posterior", "latents_to_tensor", "load", "load_pyro", "z_where_inv"]

_HOMES = {
    "AIR": "air.model.air",
    "Posterior": "air.model.posterior",
    "load": "air.runs.checkpoint",
    "latents_to_tensor": "air.runs.pyro_example",
    "load_pyro": "air.runs.pyro_example",
    "z_where_inv": "air.runs.pyro_example",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'air' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
