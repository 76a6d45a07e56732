"""The pictures of a trained run, from configuration to files."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import torch
from matplotlib.figure import Figure
from torch import Tensor
from tqdm import tqdm

from air.acceleration.threads import computing_with
from air.data.loading import load_data
from air.data.scenes import Scenes
from air.errors import ConfigError, NotKnownError
from air.evaluation.held_out import confusion_matrix
from air.model.air import AIR
from air.model.posterior import Posterior
from air.pictures.charts import draw_confusion, draw_training_curves
from air.pictures.config import PictureName, SampleConfig, VisualizeConfig
from air.pictures.figure_files import save_figure
from air.pictures.latents import draw_window_places, draw_z_what_space
from air.pictures.prior_samples import draw_prior_samples, sample_scenes
from air.pictures.reconstructions import draw_reconstructions
from air.pictures.segmentation import alone, draw_segmentation, without_background
from air.pictures.steps import (
    canvases,
    decodings,
    draw_build_up,
    draw_windows,
    glimpses,
    save_animation,
)
from air.runs.files import replacing
from air.runs.folder import METRICS_FILE, PICTURES_FOLDER
from air.runs.trained import TrainedRun, open_run
from air.tracking.jsonl import read_metrics

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Views:
    """What pictures are made from.

    Attributes:
        run: the trained run.
        scenes: held-out images, with what is known of the truth.
        posterior: what was inferred in them.
        shown: a few of them, of every count.
        config: what is asked.
    """

    run: TrainedRun
    scenes: Scenes
    posterior: Posterior
    shown: Tensor
    config: VisualizeConfig

    @property
    def air(self) -> AIR:
        """The run's model."""
        return self.run.air

    def few(self, chosen: Tensor | None = None) -> tuple[Tensor, Posterior, Tensor | None]:
        """Return images, posterior and true counts of some scenes; those `shown` by default."""
        indices = self.shown if chosen is None else chosen
        scenes = self.scenes.subset(indices)
        return scenes.images, select(self.posterior, indices), scenes.count


def visualize_run(config: VisualizeConfig) -> list[Path]:
    """Draw every picture asked for.

    Args:
        config: which run, which pictures, and of which data.

    Returns:
        The files.

    Raises:
        AIRError: the run, the data or a setting cannot be used; nothing was drawn then.
    """
    run = open_run(config.run, config.which)
    folder = _output_folder(config.output, run)
    scenes = load_data(config.data or run.config.data).test.subset(slice(config.num_images))
    run.check_images(scenes.x_size, scenes.num_channels)
    with computing_with(run.config.train.threads), pyro.validation_enabled(False):
        posterior = run.air.infer_scenes(scenes.images, config.num_steps)
        views = Views(run, scenes, posterior, scenes.varied_indices(config.num_scenes), config)
        files: list[Path] = []
        for name in tqdm(config.pictures, desc="pictures", leave=False):
            try:
                files += _save(name, views, folder)
            except NotKnownError as reason:
                log.warning("%s: not drawn: %s", name, reason)
    log.info("%d files in %s", len(files), folder)
    return files


def sample_run(config: SampleConfig) -> list[Path]:
    """Draw scenes from the prior with the counts asked for; write a picture and, if asked, arrays.

    Args:
        config: which run, and how many scenes of which counts.

    Returns:
        The files.

    Raises:
        AIRError: the run cannot be used; nothing was drawn then.
    """
    run = open_run(config.run, config.which)
    folder = _output_folder(config.output, run)
    with computing_with(run.config.train.threads), pyro.validation_enabled(False):
        samples = [
            sample_scenes(run.air, count, config.num_scenes, config.seed) for count in config.counts
        ]
    files = save_figure(
        draw_prior_samples(samples, config.counts), folder / "samples", config.formats
    )
    if config.arrays:
        files.append(folder / "samples.npz")
        pixels = (torch.cat(samples).clamp(0, 1) * 255).round().byte()
        count = np.repeat(config.counts, config.num_scenes)
        with replacing(files[-1]) as arrays:
            np.savez(arrays, x=pixels.numpy(), count=count)
    for file in files:
        log.info("%s", file)
    return files


def select(posterior: Posterior, indices: Tensor | slice) -> Posterior:
    """Return the posterior of some of the images."""
    columns = {field.name: getattr(posterior, field.name) for field in fields(posterior)}
    some: dict[str, Any] = {
        name: None if each is None else each[indices] for name, each in columns.items()
    }
    return Posterior(**some)


def _output_folder(output: str | None, run: TrainedRun) -> Path:
    folder = Path(output) if output is not None else run.folder / PICTURES_FOLDER
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"output: must be a folder, got the file {folder}")
    return folder


def _save(name: PictureName, views: Views, folder: Path) -> list[Path]:
    if name == "animation":
        images, posterior, _ = views.few()
        file = folder / "build_up.gif"
        save_animation(file, images, posterior, canvases(views.air, posterior))
        return [file]
    return save_figure(_FIGURES[name](views), folder / name, views.config.formats)


# --- one function for each picture ----------------------------------------------------------------


def _reconstructions(views: Views) -> Figure:
    return draw_reconstructions(*views.few())


def _windows(views: Views) -> Figure:
    images, posterior, _ = views.few()
    crops = glimpses(views.air, images, posterior)
    return draw_windows(images, posterior, crops, decodings(views.air, posterior))


def _build_up(views: Views) -> Figure:
    images, posterior, _ = views.few()
    return draw_build_up(images, posterior, canvases(views.air, posterior))


def _segmentation(views: Views) -> Figure:
    images, posterior, _ = views.few()
    return draw_segmentation(
        images,
        posterior,
        alone(views.air, posterior),
        without_background(views.air, posterior),
        views.scenes.subset(views.shown).masks,
    )


def _mistakes(views: Views) -> Figure:
    true, posterior = _known_count(views), views.posterior
    wrong = (posterior.count != true).nonzero().flatten()
    if not len(wrong):
        raise NotKnownError(f"all {len(true)} counts are right")
    surest = posterior.count_probs[wrong].amax(-1).argsort(descending=True)
    return draw_reconstructions(*views.few(wrong[surest[: views.config.num_scenes]]))


def _confusion(views: Views) -> Figure:
    num_steps = views.config.num_steps or views.air.num_steps
    return draw_confusion(confusion_matrix(_known_count(views), views.posterior.count, num_steps))


def _training_curves(views: Views) -> Figure:
    path = views.run.folder / METRICS_FILE
    if not path.exists():
        raise NotKnownError(f"the run has no {METRICS_FILE}")
    return draw_training_curves(read_metrics(path))


def _z_what_space(views: Views) -> Figure:
    posterior = views.posterior
    present = posterior.z_pres > 0
    if not present.any():
        raise NotKnownError("no object was found in any image")
    decoded = decodings(views.air, posterior)[present]
    on_black = views.air.model.canvas.compositing.ground == 0
    inverted = on_black and views.air.num_channels == 1  # colours stay what they are
    return draw_z_what_space(posterior.z_what[present], decoded, inverted=inverted)


def _window_places(views: Views) -> Figure:
    return draw_window_places(views.posterior, views.scenes.x_size)


def _prior_samples(views: Views) -> Figure:
    counts = range(1, views.air.num_steps + 1)
    seed, num = views.config.seed, views.config.num_scenes
    return draw_prior_samples([sample_scenes(views.air, n, num, seed) for n in counts], counts)


def _known_count(views: Views) -> Tensor:
    if views.scenes.count is None:
        raise NotKnownError("the data has no counts")
    return views.scenes.count


_FIGURES: dict[PictureName, Callable[[Views], Figure]] = {
    "reconstructions": _reconstructions,
    "windows": _windows,
    "build_up": _build_up,
    "segmentation": _segmentation,
    "mistakes": _mistakes,
    "confusion": _confusion,
    "training_curves": _training_curves,
    "z_what_space": _z_what_space,
    "window_places": _window_places,
    "prior_samples": _prior_samples,
}
