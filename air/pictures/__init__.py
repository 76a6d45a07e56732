"""What a model sees, drawn with matplotlib; a file for each kind of picture."""

from air.figure_files import save_figure
from air.pictures.drawing import FOLDER
from air.pictures.prior_samples import draw_prior_samples, sample_scenes
from air.pictures.reconstructions import draw_reconstructions, tracked_reconstructions

__all__ = [
    "FOLDER",
    "draw_prior_samples",
    "draw_reconstructions",
    "sample_scenes",
    "save_figure",
    "tracked_reconstructions",
]
