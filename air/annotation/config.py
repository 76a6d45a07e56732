"""What `scripts/infer.py` is asked to find; values are in `conf/infer.yaml`."""

from __future__ import annotations

from air.data.config import Fit
from air.fields import Count, GivenPath, PositiveInt, UserPath, WhichCheckpoint, strict


@strict
class InferConfig:
    """Objects in a folder of image files."""

    run: UserPath
    which: WhichCheckpoint
    images: UserPath
    output: UserPath | None
    size: PositiveInt | None
    fit: Fit | None
    num_steps: PositiveInt | None
    num_pictures: Count
    batch_size: PositiveInt
    root: GivenPath
