"""What a run is: the schema, and how plain values become it.

Nothing here imports torch, so a wrong configuration is reported before anything heavy is loaded.
`air.config.command` and `air.config.compose`, which know Hydra, are imported by scripts alone.
"""

from air.config.parsing import (
    DIGIT_SIZE,
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
    DataConfig,
    DreamsConfig,
    InferenceConfig,
    ModelConfig,
    MovingAverageBaselineConfig,
    MultiMNISTConfig,
    MultiMNISTFullConfig,
    NeuralBaselineConfig,
    NoBaselineConfig,
    NoSleepConfig,
    NoTrackingConfig,
    NpzConfig,
    OptimConfig,
    PriorConfig,
    SceneConfig,
    SleepConfig,
    TrackingConfig,
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
    "DataConfig",
    "DreamsConfig",
    "InferenceConfig",
    "ModelConfig",
    "MovingAverageBaselineConfig",
    "MultiMNISTConfig",
    "MultiMNISTFullConfig",
    "NeuralBaselineConfig",
    "NoBaselineConfig",
    "NoSleepConfig",
    "NoTrackingConfig",
    "NpzConfig",
    "OptimConfig",
    "PriorConfig",
    "SceneConfig",
    "SleepConfig",
    "TrackingConfig",
    "TrainConfig",
    "WandbConfig",
    "check_sizes",
    "config_values",
    "describe_unknown_key",
    "parse_as",
    "parse_config",
]
