"""Cutouts of published data sets, which torchvision downloads when they are absent."""

from __future__ import annotations

import contextlib
import io
import logging
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from air.data.config import CUTOUT_SIZE
from air.data.cutouts import Cutouts
from air.errors import DataError

if TYPE_CHECKING:
    from torchvision.datasets import MNIST

DOWNLOAD_TIMEOUT = 30.0  # seconds without an answer
_UNPACKED = "download its four idx .gz files on another machine and unpack them there"

log = logging.getLogger(__name__)

# torchvision is imported where it is used: only these presets need it, and it takes a second.


def full_mnist(root: Path) -> tuple[Cutouts, Cutouts]:
    """Return all 60 000 training and 10 000 test digits of MNIST, downloaded when absent.

    Args:
        root: folder that holds, or will hold, torchvision's `MNIST/raw`.

    Returns:
        Training digits and test digits.

    Raises:
        DataError: the files are absent and cannot be downloaded, or are damaged.
    """
    from torchvision.datasets import MNIST

    instead = f"{_UNPACKED}, or use data=multi_mnist, which needs no download"
    return _idx_files("multi_mnist_full", MNIST, root, instead)


def fashion_mnist(root: Path) -> tuple[Cutouts, Cutouts]:
    """Return the 60 000 training and 10 000 test pictures of FashionMNIST, downloaded when absent.

    Args:
        root: folder that holds, or will hold, torchvision's `FashionMNIST/raw`.

    Returns:
        Pictures of clothes for training and for test scenes.

    Raises:
        DataError: the files are absent and cannot be downloaded, or are damaged.
    """
    from torchvision.datasets import FashionMNIST

    return _idx_files("multi_fashion", FashionMNIST, root, _UNPACKED)


def omniglot(root: Path) -> tuple[Cutouts, Cutouts]:
    """Return the characters of Omniglot, downloaded when absent.

    They are inverted to white on black, shrunk from 105 pixels, and brightened until the brightest
    pixel is white, as their thin lines fade when they shrink.

    Args:
        root: folder that holds, or will hold, `omniglot-py/images_background` and
            `omniglot-py/images_evaluation`, each with ALPHABET/CHARACTER/*.png.

    Returns:
        Characters of the background set, for training scenes, and of the evaluation set, which has
        other alphabets. A label is the place of the character among those of its set.

    Raises:
        DataError: the files are absent and cannot be downloaded, or are damaged.
    """
    folder = root / "omniglot-py"

    def read(download: bool) -> tuple[Cutouts, Cutouts]:
        return _characters(folder, True, download), _characters(folder, False, download)

    instead = (
        "unpack its images_background.zip and images_evaluation.zip, downloaded on another "
        "machine, there"
    )
    return _read_or_download("omniglot", "Omniglot", root, folder, read, instead)


def _read_or_download(
    preset: str,
    name: str,
    root: Path,
    folder: Path,
    read: Callable[[bool], tuple[Cutouts, Cutouts]],
    instead: str,
) -> tuple[Cutouts, Cutouts]:
    """Read a data set, and download it first if that fails.

    Args:
        preset: that asks for it, for errors.
        name: of the data set.
        root: where it is kept.
        folder: in which its files are.
        read: whether to download what is absent -> training and test cutouts.
        instead: what else the user can do, for errors.
    """
    # Without the lock first: a folder that is complete may be read-only.
    with contextlib.suppress(Exception):
        return read(False)
    log.info("no complete %s in %s: downloading it", name, folder)
    try:
        root.mkdir(parents=True, exist_ok=True)
        # Other processes wait for the download instead of reading half of it.
        with FileLock(root / f"{name.lower()}.lock"), _quiet_download():
            return read(True)
    except Exception as error:  # torchvision raises many kinds: of network, archive and format
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"data={preset}: cannot download {name} to {folder}, or what is there is damaged "
            f"({reason}); {instead}"
        ) from None


def _idx_files(preset: str, kind: type[MNIST], root: Path, instead: str) -> tuple[Cutouts, Cutouts]:
    """Read a data set in the format of MNIST."""

    def part(train: bool, download: bool) -> Cutouts:
        files = kind(str(root), train=train, download=download)
        cutouts = Cutouts(files.data.numpy(), files.targets.numpy())
        shape = (len(cutouts.labels), CUTOUT_SIZE, CUTOUT_SIZE)
        if cutouts.images.shape != shape or len(cutouts) == 0:
            raise ValueError(f"{cutouts.images.shape} images, {cutouts.labels.shape} labels")
        return cutouts

    def read(download: bool) -> tuple[Cutouts, Cutouts]:
        return part(True, download), part(False, download)

    name = kind.__name__
    return _read_or_download(preset, name, root, root / name / "raw", read, instead)


def _characters(folder: Path, background: bool, download: bool) -> Cutouts:
    """Read one set of Omniglot; torchvision's class reads only what it has unpacked itself."""
    part = folder / ("images_background" if background else "images_evaluation")
    if download and not part.exists():
        from torchvision.datasets import Omniglot

        # The folder gets its name when it is complete.
        with TemporaryDirectory(dir=folder.parent) as fresh:
            Omniglot(fresh, background=background, download=True)
            folder.mkdir(exist_ok=True)
            Path(fresh, folder.name, part.name).rename(part)
    paths = sorted(part.glob("*/*/*.png"))
    if not paths:
        raise ValueError(f"no ALPHABET/CHARACTER/*.png in {part.name}")
    characters = sorted({path.parent for path in paths})
    number = {character: label for label, character in enumerate(characters)}
    return Cutouts(
        images=np.stack([_white_on_black(path) for path in paths]),
        labels=np.array([number[path.parent] for path in paths]),
    )


def _white_on_black(path: Path) -> NDArray[np.uint8]:
    """Read a picture of dark ink on white, (28, 28)."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            grey = picture.convert("L")
    except OSError as error:
        raise ValueError(f"{path}: {error}") from None
    shrunk = grey.resize((CUTOUT_SIZE, CUTOUT_SIZE), Image.Resampling.BOX)
    ink = 255 - np.asarray(shrunk, np.float32)
    if not ink.any():
        raise ValueError(f"{path}: has no ink")
    return np.rint(ink * (255 / ink.max())).astype(np.uint8)


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
