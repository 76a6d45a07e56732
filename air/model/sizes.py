"""How large AIR and its networks are; torch-free, so that a wrong size is told early."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

CHANNELS = (1, 3)  # of an image: grey, or red, green and blue


@dataclass(frozen=True)
class Sizes:
    """The arguments of `AIR` that its networks are built from; see there for what they mean.

    Raises:
        ValueError: a size is below 1, the window exceeds the image, or the convolutions' lists
            differ in length. The message begins with the argument's name.
    """

    num_steps: int
    x_size: int
    num_channels: int
    window_size: int
    z_what_size: int
    rnn_hidden_size: int
    encoder_net: Sequence[int]
    decoder_net: Sequence[int]
    predict_net: Sequence[int]
    embed_net: Sequence[int] | None
    embed_channels: Sequence[int] | None
    embed_kernels: Sequence[int] | None
    embed_strides: Sequence[int] | None
    non_linearity: str
    decoder_output_bias: float | None
    decoder_output_use_sigmoid: bool

    def __post_init__(self) -> None:
        for name in ("num_steps", "x_size", "window_size", "z_what_size", "rnn_hidden_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: must be 1 or more, got {getattr(self, name)}")
        if self.num_channels not in CHANNELS:
            allowed = " or ".join(map(str, CHANNELS))
            raise ValueError(f"num_channels: must be {allowed}, got {self.num_channels}")
        if self.window_size > self.x_size:
            raise ValueError(
                f"window_size: must be at most the image's {self.x_size} pixels, "
                f"got {self.window_size}"
            )
        num_convolutions = len(self.embed_channels or ())
        for name in ("embed_kernels", "embed_strides"):
            numbers = getattr(self, name)
            if numbers and len(numbers) != num_convolutions:
                raise ValueError(
                    f"{name}: must have one number for each of the {num_convolutions} "
                    f"embed_channels, got {numbers}"
                )

    @property
    def latent_size(self) -> int:
        """Length of what recurrent networks are fed back of an object: z_where, z_what, z_pres."""
        return 3 + self.z_what_size + 1


def check_sd(name: str, sd: float) -> None:
    """Raise `ValueError` if a standard deviation of that name is not positive and finite."""
    if not 0 < sd < math.inf:
        raise ValueError(f"{name}: must be positive and finite, got {sd}")


# The least standard deviation of a pixel that is learned, two and a half of 256 levels. Without
# it, where an image can be reproduced exactly, the likelihood would have no upper bound, and the
# objects would be whatever reproduces the last level. It also keeps log densities to a nat: a
# squared distance of digits in float32 is exact to some 1e-4, and is divided by 2 sd².
LEAST_LEARNED_SD = 0.01


def check_learned_sd(name: str, sd: float) -> None:
    """Raise `ValueError` if a learned standard deviation of that name cannot start there."""
    if not LEAST_LEARNED_SD < sd < math.inf:
        raise ValueError(
            f"{name}: must be finite and above {LEAST_LEARNED_SD}, the least that is learned, "
            f"got {sd}"
        )
