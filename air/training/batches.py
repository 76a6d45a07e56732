"""Which training images each iteration sees."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


class BatchOrder:
    """Shuffled epochs, as a function of the seed and the iteration alone.

    A resumed run, or another process, therefore sees the same batches without any state to keep.

    Args:
        num_images: images in the training set.
        batch_size: images in a batch; what does not fill a batch at an epoch's end is left out.
        seed: of the shuffling.
    """

    def __init__(self, num_images: int, batch_size: int, seed: int) -> None:
        self.num_images = num_images
        self.batch_size = batch_size
        self.seed = seed
        self.batches_per_epoch = num_images // batch_size
        self._epoch = -1
        self._order = torch.empty(0, dtype=torch.int64)

    def indices(self, iteration: int) -> Tensor:
        """Return the batch's indices into the training set, (batch_size,)."""
        epoch, batch = divmod(iteration, self.batches_per_epoch)
        if epoch != self._epoch:
            words = np.random.SeedSequence([self.seed, epoch]).generate_state(2)
            generator = torch.Generator().manual_seed(int(words[0]) << 31 ^ int(words[1]))
            self._order = torch.randperm(self.num_images, generator=generator)
            self._epoch = epoch
        start = batch * self.batch_size
        return self._order[start : start + self.batch_size]
