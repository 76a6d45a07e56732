"""MNIST's digits: the ones that come with the package, or all of them."""

from __future__ import annotations

import contextlib
import importlib.resources
import io
import logging
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from air.errors import DataError

DOWNLOAD_TIMEOUT = 30.0  # seconds without an answer

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Digits:
    """White digits on black.

    Attributes:
        images: (N, 28, 28) uint8.
        labels: (N,) int64, 0..9.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.images)


def bundled_digits() -> tuple[Digits, Digits]:
    """Return the first 10 000 training and the first 2 000 test digits of MNIST.

    MNIST is by Yann LeCun, Corinna Cortes and Christopher Burges, under CC BY-SA 3.0.

    Returns:
        Training digits and test digits.
    """
    resource = importlib.resources.files(__package__) / "mnist_digits.npz"
    with resource.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return (
            Digits(arrays["train_images"], arrays["train_labels"].astype(np.int64)),
            Digits(arrays["test_images"], arrays["test_labels"].astype(np.int64)),
        )


def full_mnist(root: Path) -> tuple[Digits, Digits]:
    """Return all 60 000 training and 10 000 test digits of MNIST, downloaded when absent.

    Args:
        root: folder that holds, or will hold, torchvision's `MNIST/raw`.

    Returns:
        Training digits and test digits.

    Raises:
        DataError: the files are absent and cannot be downloaded, or are damaged.
    """
    # Without the lock first: a folder that is complete may be read-only.
    with contextlib.suppress(Exception):
        return _read_mnist(root, download=False)
    raw = root / "MNIST" / "raw"
    log.info("no complete MNIST in %s: downloading it", raw)
    try:
        root.mkdir(parents=True, exist_ok=True)
        # Other processes wait for the download instead of reading half of it.
        with FileLock(root / "mnist.lock"), _quiet_download():
            return _read_mnist(root, download=True)
    except Exception as error:  # torchvision raises many kinds: of network, archive and format
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"data=multi_mnist_full: cannot download MNIST to {raw}, or what is there is damaged "
            f"({reason}); download its four idx .gz files on another machine and unpack them "
            f"there, or use data=multi_mnist, which needs no download"
        ) from None


def _read_mnist(root: Path, download: bool) -> tuple[Digits, Digits]:
    # Here, because only this preset needs it and it takes a second to import.
    from torchvision.datasets import MNIST

    train, test = (MNIST(str(root), train=train, download=download) for train in (True, False))
    digits = (
        Digits(train.data.numpy(), train.targets.numpy()),
        Digits(test.data.numpy(), test.targets.numpy()),
    )
    for part in digits:
        if part.images.shape != (len(part.labels), 28, 28) or len(part) == 0:
            raise ValueError(f"{part.images.shape} images, {part.labels.shape} labels")
    return digits


@contextlib.contextmanager
def _quiet_download() -> Iterator[None]:
    """Hide torchvision's progress bars, and do not wait for ever for a silent network."""
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        socket.setdefaulttimeout(timeout)
