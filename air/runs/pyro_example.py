"""What else Pyro's `examples/air` has: two helpers that its scripts import, and its weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from air.errors import CheckpointError
from air.model.air import AIR
from air.runs.checkpoint import holds_pyro_weights, load_weights, read_torch_file


def latents_to_tensor(z: tuple[Sequence[Tensor], Sequence[Tensor]]) -> Tensor:
    """Put what `AIR.guide` and `AIR.prior` return of objects into one tensor.

    Args:
        z: z_where and z_pres, for each step a tensor (N, 3) and one (N, 1).

    Returns:
        (N, num_steps, 4): s, x, y and z_pres, on the CPU.
    """
    steps = [torch.cat(step, -1) for step in zip(*z, strict=True)]
    return torch.stack(steps, 1).detach().cpu()


def z_where_inv(z_where: Tensor) -> Tensor:
    """Return the inverse transforms: [s, x, y] -> [1 / s, -x / s, -y / s], (N, 3)."""
    scale, position = z_where[..., :1], z_where[..., 1:]
    return torch.cat((torch.ones_like(scale), -position), -1) / scale


def load_pyro(file: str | Path, **arguments: Any) -> AIR:
    """Give a model back that was trained by Pyro's `examples/air`.

    Args:
        file: what its `--save` wrote: the state dict of its `AIR`. It tells all sizes and the prior
            of z_where.
        **arguments: of `AIR`, for what the file does not tell, such as `num_steps`,
            `decoder_output_bias`, `decoder_output_use_sigmoid` and `likelihood_sd`; Pyro's defaults
            otherwise.

    Returns:
        The model, in evaluation mode, on the CPU; guide, decoder and baseline equal Pyro's.

    Raises:
        CheckpointError: the file is missing or damaged, or no such state dict, or not whole.
        TypeError, ValueError: an argument is not `AIR`'s, or the file tells otherwise.
    """
    path = Path(file)
    weights = read_torch_file(path)
    if not holds_pyro_weights(weights):
        raise CheckpointError(f"{path}: is a torch file, but no state dict of Pyro's examples/air")
    try:
        told = _told(weights)
        ours = _translated(weights)
    except KeyError as error:
        raise CheckpointError(f"{path}: lacks a weight of Pyro's examples/air, {error}") from None
    for name in told.keys() & arguments.keys():
        value, given = told[name], arguments[name]
        if isinstance(value, float):
            same = math.isclose(given, value, rel_tol=1e-6)
        else:
            same = value == (list(given) if isinstance(given, tuple) else given)
        if not same:
            raise ValueError(f"{name}: must be {value}, as {path} tells, got {given!r}")
    air = AIR(**{**arguments, **told})
    names = air.state_dict().keys()
    # Pyro saves a baseline also where none is used.
    used = {n: v for n, v in ours.items() if n in names or not n.startswith("guide.baseline.")}
    load_weights(air, used, path)
    return air.eval()


def _told(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the arguments that Pyro's weights tell, from their shapes and the prior of z_where."""
    z_what_size = weights["decode.mlp.seq.0.weight"].shape[1]
    embed_net = _layers(weights, "embed.seq") or None
    if embed_net:
        num_pixels = weights["embed.seq.0.weight"].shape[1]
    else:
        num_pixels = weights["rnn.weight_ih"].shape[1] - (3 + z_what_size + 1)
    scale_mean, pos_mean, _ = weights["z_where_loc_prior"].tolist()
    scale_sd, pos_sd, _ = weights["z_where_scale_prior"].tolist()
    return {
        "x_size": math.isqrt(num_pixels),
        "window_size": math.isqrt(weights["encode.mlp.seq.0.weight"].shape[1]),
        "z_what_size": z_what_size,
        "rnn_hidden_size": weights["rnn.weight_hh"].shape[1],
        "encoder_net": _layers(weights, "encode.mlp.seq")[:-1],
        "decoder_net": _layers(weights, "decode.mlp.seq")[:-1],
        "predict_net": _layers(weights, "predict.mlp.seq")[:-1],
        "embed_net": embed_net,
        "embed_channels": None,
        "bl_predict_net": _layers(weights, "bl_predict.seq")[:-1],
        "scale_prior_mean": scale_mean,
        "scale_prior_sd": scale_sd,
        "pos_prior_mean": pos_mean,
        "pos_prior_sd": pos_sd,
    }


def _layers(weights: Mapping[str, Tensor], prefix: str) -> list[int]:
    """Return the length of each layer's output; every second module is a non-linearity."""
    sizes: list[int] = []
    while (weight := weights.get(f"{prefix}.{2 * len(sizes)}.weight")) is not None:
        sizes.append(weight.shape[0])
    return sizes


_PREFIXES = {
    "embed.seq.": "guide.attention.embed.layers.1.layers.",
    "encode.mlp.seq.": "guide.encode.mlp.layers.",
    "decode.mlp.seq.": "model.decode.mlp.layers.",
    "predict.mlp.seq.": "guide.attention.predict.mlp.layers.",
    "bl_embed.seq.": "guide.baseline.embed.layers.1.layers.",
    "bl_predict.seq.": "guide.baseline.predict.layers.",
}


def _translated(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return Pyro's weights under our names and in our shapes."""
    ours = {
        "guide.z_where_init": weights["z_where_init"].squeeze(0),
        "guide.z_what_init": weights["z_what_init"].squeeze(0),
        **_lstm(weights, "rnn", "", "guide.attention.rnn"),
        **_lstm(weights, "bl_rnn", "bl_", "guide.baseline.rnn"),
    }
    for name, value in weights.items():
        for theirs, prefix in _PREFIXES.items():
            if name.startswith(theirs):
                ours[prefix + name.removeprefix(theirs)] = value
    return ours


def _lstm(weights: Mapping[str, Tensor], cell: str, state: str, ours: str) -> dict[str, Tensor]:
    """Split a cell's product with [embedding, z_where, z_what, z_pres] as our `LSTM` does.

    Args:
        weights: Pyro's.
        cell: its name of the `nn.LSTMCell`.
        state: what its names of the first h and c begin with.
        ours: our name of the network.
    """
    latent_size = 3 + weights["z_what_init"].shape[1] + 1
    from_input, from_state = weights[f"{cell}.weight_ih"], weights[f"{cell}.weight_hh"]
    from_embedding, from_latents = from_input[:, :-latent_size], from_input[:, -latent_size:]
    return {
        f"{ours}.from_embedding": from_embedding.mT,
        f"{ours}.from_latents.weight": torch.cat((from_latents, from_state), 1),
        f"{ours}.from_latents.bias": weights[f"{cell}.bias_ih"] + weights[f"{cell}.bias_hh"],
        f"{ours}.h_init": weights[f"{state}h_init"].squeeze(0),
        f"{ours}.c_init": weights[f"{state}c_init"].squeeze(0),
    }
