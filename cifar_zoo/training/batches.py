"""The order in which a training sees its images."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


class ShuffledBatches:
    """The batches of a training, as a function of the step alone: a run that goes on sees what it would have seen.

    Args:
        images, labels: arrays of the same length.
        batch_size: images a step; what is left over at the end of an epoch is dropped.
        seed: of the shuffling, another one each epoch.
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray, batch_size: int, seed: int) -> None:
        self.images, self.labels, self.batch_size, self.seed = images, labels, batch_size, seed
        self.steps = len(images) // batch_size

    def batches(self, step: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """All batches from `step` on, without end."""
        epoch, place = divmod(step, self.steps)
        while True:
            order = np.random.default_rng((self.seed, epoch)).permutation(len(self.images))
            for i in range(place, self.steps):
                chosen = order[i * self.batch_size : (i + 1) * self.batch_size]
                yield self.images[chosen], self.labels[chosen]
            epoch, place = epoch + 1, 0
