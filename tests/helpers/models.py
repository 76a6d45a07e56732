"""Models small enough to enumerate, for several test files."""

import pytest

from air.cli.compose import compose_values
from air.model.air import AIR
from air.model.config import OverConfig, VAEConfig

TINY = {
    "num_steps": 2,
    "x_size": 6,
    "window_size": 4,
    "z_what_size": 2,
    "rnn_hidden_size": 5,
    "decoder_output_bias": -1.0,
    "decoder_output_use_sigmoid": True,
    "likelihood_sd": 0.5,
    "scale_prior_mean": 1.5,
    "use_baselines": False,
}

VAE = VAEConfig("vae", z_background_size=2, encoder_net=[], decoder_net=[])
PLAIN_OR_COVERING = [
    pytest.param({}, id="seed"),
    pytest.param({"background": VAE, "compositing": OverConfig("over")}, id="vae-over"),
]


def tiny(**arguments):
    return AIR(**{**TINY, **arguments})


def tiny_values(**arguments):
    """Return the values of a run whose model `tiny` builds, from the same arguments."""
    values = compose_values(("experiment=smoke", "model=pixels", "attention=recurrent"))
    given = {"encoder_net": [], "decoder_net": [], **TINY, **arguments}
    values["model"].update({name: given[name] for name in values["model"].keys() & given.keys()})
    return values
