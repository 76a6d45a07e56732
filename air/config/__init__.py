"""What a run is: the schema, and how plain values become it.

Nothing here imports torch, so a wrong configuration is reported before anything heavy is loaded.
Those that know Hydra, such as `air.config.command` and `compose`, are not imported here.
"""

from air.config.data import (
    DataConfig,
    MultiMNISTConfig,
    MultiMNISTFullConfig,
    NpzConfig,
    SceneConfig,
    ShardsConfig,
)
from air.config.fields import WhichCheckpoint
from air.config.parsing import (
    DIGIT_SIZE,
    check_scenes,
    check_sizes,
    config_values,
    describe_unknown_key,
    parse_as,
    parse_config,
)
from air.config.schema import (
    AnnealedPriorConfig,
    BaselineConfig,
    Config,
    ConstantPriorConfig,
    CutsConfig,
    DreamsConfig,
    InferenceConfig,
    ModelConfig,
    MovingAverageBaselineConfig,
    NeuralBaselineConfig,
    NoBaselineConfig,
    NoSearchConfig,
    NoSleepConfig,
    NoTrackingConfig,
    OptimConfig,
    PriorConfig,
    SearchConfig,
    SleepConfig,
    TrackingConfig,
    TrackioConfig,
    TrainConfig,
    WandbConfig,
)
from air.errors import ConfigError

__all__ = [
    "DIGIT_SIZE",
    "AnnealedPriorConfig",
    "BaselineConfig",
    "Config",
    "ConfigError",
    "ConstantPriorConfig",
    "CutsConfig",
    "DataConfig",
    "DreamsConfig",
    "InferenceConfig",
    "ModelConfig",
    "MovingAverageBaselineConfig",
    "MultiMNISTConfig",
    "MultiMNISTFullConfig",
    "NeuralBaselineConfig",
    "NoBaselineConfig",
    "NoSearchConfig",
    "NoSleepConfig",
    "NoTrackingConfig",
    "NpzConfig",
    "OptimConfig",
    "PriorConfig",
    "SceneConfig",
    "SearchConfig",
    "ShardsConfig",
    "SleepConfig",
    "TrackingConfig",
    "TrackioConfig",
    "TrainConfig",
    "WandbConfig",
    "WhichCheckpoint",
    "check_scenes",
    "check_sizes",
    "config_values",
    "describe_unknown_key",
    "parse_as",
    "parse_config",
]
