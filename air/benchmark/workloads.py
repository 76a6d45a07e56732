"""Steps to be timed: ours from configurations, and those of a checkout of Pyro's repository."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pyro
import torch
from pyro.optim.pytorch_optimizers import Adam  # type: ignore[attr-defined]

from air.config.schema import Config
from air.data.config import SceneConfig
from air.data.drawing import draw_scenes
from air.data.scenes import Data
from air.errors import DataError
from air.inference.config import NeuralBaselineConfig, ReinforceConfig
from air.model.images import to_unit
from air.tracking.tracker import NullTracker
from air.training.gradients import check_step
from air.training.run import begin, choose_device
from air.training.trainer import Trainer

Step = Callable[[], None]

_NUM_DRAWN = 500  # scenes, from which the size of objects can be found; a large batch repeats them


def example_data(config: SceneConfig, num_images: int, black: bool = True) -> Data:
    """Draw a few scenes, as training and as held-out ones.

    Args:
        config: how they are drawn.
        num_images: how many.
        black: whether they have black pixels, or pixels of 1 in 255 in their place.
    """
    _, painter = config.painters()
    scenes = draw_scenes(painter, config, num_images, seed=0)
    if not black:
        scenes.images.clamp_(min=1)
    return Data(train=scenes, test=scenes)


def build_trainer(config: Config, data: Data) -> Trainer:
    """Build a trainer that writes nothing, in the state in which a run builds it.

    It is to be used in a scope of Pyro's parameter store of its own.

    Raises:
        ConfigError: the step is to be compiled, and cannot be here.
    """
    pyro.set_rng_seed(config.seed)
    device = choose_device(config)
    check_step(config, device)
    config = config.fitted_to(data.train)
    air = config.build_model(data.train.x_size, data.train.num_channels).to(device)
    begin(config, air, data.train)
    objective = config.build_objective()
    return Trainer(config, air, objective, data, Path("nowhere"), NullTracker())


def our_step(config: Config, black: bool = True) -> Step:
    """Return the whole step of a trainer: batch, gradient, optimiser, schedule.

    Args:
        config: of the trainer.
        black: whether its scenes have black pixels.
    """
    return in_own_store(example_trainer(config, black).step, validation=False)


def example_trainer(config: Config, black: bool = True) -> Trainer:
    """Build a trainer on a few scenes; its parameters are in the store only while it is built.

    Args:
        config: of the trainer.
        black: whether its scenes have black pixels.
    """
    assert isinstance(config.data, SceneConfig)  # others would have to be read
    few = example_data(config.data, _NUM_DRAWN, black).train
    scenes = few.subset(torch.arange(max(_NUM_DRAWN, 2 * config.train.batch_size)) % _NUM_DRAWN)
    with pyro.get_param_store().scope():
        return build_trainer(config, Data(train=scenes, test=scenes))


def reference_step(checkout: Path, config: Config) -> Step:
    """Return the step of `examples/air` in a checkout of Pyro's repository.

    Args:
        checkout: the repository's folder.
        config: sizes, rates and prior; the networks must be of the example's kind.

    Raises:
        DataError: it has no such example.
    """
    network = config.model
    assert isinstance(config.data, SceneConfig)
    assert network.embed_net is None
    assert network.embed_channels is None
    assert isinstance(config.inference, ReinforceConfig)
    assert isinstance(config.inference.baseline, NeuralBaselineConfig)
    air = _load_example(checkout).AIR(
        num_steps=network.num_steps,
        x_size=config.data.canvas_size,
        window_size=network.window_size,
        z_what_size=network.z_what_size,
        rnn_hidden_size=network.rnn_hidden_size,
        encoder_net=list(network.encoder_net),
        decoder_net=list(network.decoder_net),
        predict_net=list(network.predict_net),
        bl_predict_net=list(config.inference.baseline.net),
        non_linearity=network.non_linearity,
        decoder_output_bias=network.decoder_output_bias,
        decoder_output_use_sigmoid=network.decoder_output_use_sigmoid,
        use_masking=network.use_masking,
        use_cuda=choose_device(config).type == "cuda",
    )
    rates = {True: config.optim.baseline_lr, False: config.optim.lr}
    optimizer = Adam(lambda name: {"lr": rates["bl_" in name]})
    scenes = example_data(config.data, 2 * config.train.batch_size).test
    images = to_unit(scenes.images, choose_device(config))
    prior = config.prior.build(network.num_steps)(0)
    svi = pyro.infer.SVI(air.model, air.guide, optimizer, pyro.infer.TraceGraph_ELBO())

    def step() -> None:
        svi.step(images, batch_size=config.train.batch_size, z_pres_prior_p=prior)

    return in_own_store(step, validation=True)  # Pyro's default, which the example leaves as it is


def in_own_store(step: Step, validation: bool) -> Step:
    """Give a step parameters of its own: those of another model may have the same names."""
    store = pyro.get_param_store()
    with store.scope() as parameters:
        pass

    def scoped() -> None:
        with store.scope(parameters), pyro.validation_enabled(validation):
            step()

    return scoped


def check_checkout(checkout: Path) -> Path:
    """Return the folder of the example in a checkout of Pyro's repository.

    Raises:
        DataError: it has no such example.
    """
    folder = checkout / "examples" / "air"
    if not (folder / "air.py").is_file():
        raise DataError(
            f"--compare: must be a checkout of Pyro's repository, with examples/air/air.py, "
            f"got {checkout}"
        )
    return folder


def _load_example(checkout: Path) -> ModuleType:
    folder = check_checkout(checkout)
    spec = importlib.util.spec_from_file_location("pyro_examples_air", folder / "air.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(folder))  # it imports its neighbour `modules`
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(folder))
    return module
