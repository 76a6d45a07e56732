"""From a folder of image files to a folder of what was found in them: tables and pictures."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from pathlib import Path

import pyro
import torch
from torchvision.transforms.v2.functional import to_pil_image
from tqdm import tqdm

from air.acceleration.threads import computing_with
from air.annotation.config import InferConfig
from air.annotation.drawing import draw_found
from air.annotation.found import Found, found_in
from air.annotation.tables import tables
from air.data.config import Fit, ImagesConfig
from air.data.folder import ImageFolder, open_folder
from air.data.image_files import read_image
from air.errors import ConfigError
from air.fields import config_values
from air.runs.files import make_folder, replacing
from air.runs.folder import PICTURES_FOLDER
from air.runs.trained import TrainedRun, open_run

INFERRED_FOLDER = "inferred"  # of a run's folder

log = logging.getLogger(__name__)


def annotate(config: InferConfig) -> Path:
    """Find the objects of all files of a folder, and write what was found.

    Args:
        config: which run, and which files.

    Returns:
        The folder with the tables and pictures.

    Raises:
        AIRError: the run, a file or a setting cannot be used; nothing was written then.
        WriteError: a table or a picture cannot be written.
    """
    run = open_run(config.run, config.which)
    size, fit = _as_in_training(run, config)
    num_channels = run.air.num_channels
    run.check_images(size, num_channels, key="size")
    output = _new_folder(run, config)
    folder = open_folder(config.images, "images", size, fit, num_channels == 3, config.root)
    folder.warn_made_grey()
    make_folder(output)
    settings = {"iteration": run.iteration, **config_values(config)}
    with (
        computing_with(run.config.train.threads),
        pyro.validation_enabled(False),
        tables(output, settings) as written,
    ):
        found = tqdm(_found(run, folder, config), "inferring", len(folder.names), leave=False)
        for number, each in enumerate(found):
            written.write(each)
            if number < config.num_pictures:
                _draw(folder, each, output / PICTURES_FOLDER)
    log.info("%d files: what was found in them is in %s", len(folder.names), output)
    return output


def _as_in_training(run: TrainedRun, config: InferConfig) -> tuple[int, Fit]:
    """Return size and fit: what is asked for, else as in training; `pad` if that had no files."""
    data = run.config.data
    fit = data.fit if isinstance(data, ImagesConfig) else "pad"
    return config.size or run.air.x_size, config.fit or fit


def _new_folder(run: TrainedRun, config: InferConfig) -> Path:
    """Return where the output goes, which holds nothing yet."""
    if config.output is not None:
        output = Path(config.output)
        if output.exists() and (not output.is_dir() or any(output.iterdir())):
            raise ConfigError(
                f"output: must be a new or empty folder, as nothing is overwritten, got {output}"
            )
        return output
    name = Path(config.images).resolve().name or "images"
    numbered = (f"{name}-{number}" for number in itertools.count(2))
    folders = (run.folder / INFERRED_FOLDER / each for each in itertools.chain((name,), numbered))
    return next(folder for folder in folders if not folder.exists())


def _found(run: TrainedRun, folder: ImageFolder, config: InferConfig) -> Iterator[Found]:
    """Yield what is found in each file, a batch at a time."""
    images = folder.images()
    for indices in torch.arange(len(images)).split(config.batch_size):
        posterior = run.air.infer_scenes(images.read(indices), config.num_steps)
        for row, i in enumerate(indices.tolist()):
            yield found_in(folder.names[i], folder.placement(i), posterior, row)


def _draw(folder: ImageFolder, found: Found, pictures: Path) -> None:
    picture = draw_found(read_image(folder.path / found.name), found)
    make_folder(pictures)
    # The whole name, as one folder may have x.png and x.jpg.
    with replacing(pictures / f"{found.name}.png") as file:
        to_pil_image(picture).save(file, "PNG")
