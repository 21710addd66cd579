"""Shuffled batches of training images."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


class ShuffledBatches:
    """Batches of images and labels, shuffled anew in every epoch.

    A batch depends only on the seed and the number of the step, so a resumed run sees the same batches as an
    uninterrupted one.

    Args:
        images: Array of shape (examples, height, width, channels).
        labels: Array of shape (examples,).
        batch_size: Integer. Number of images in a batch. The last, incomplete batch of an epoch is dropped.
        seed: Integer. Seed of the shuffling.
        rows: Slice. The rows of each batch that are taken, where several processes share a batch.

    Attributes:
        steps: Integer. Number of batches in an epoch.
    """

    def __init__(
        self, images: np.ndarray, labels: np.ndarray, batch_size: int, seed: int, rows: slice = slice(None)
    ) -> None:
        self.images, self.labels, self.batch_size, self.seed, self.rows = images, labels, batch_size, seed, rows
        self.steps = len(images) // batch_size

    def batches(self, step: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the batches from `step` on, forever."""
        epoch, place = divmod(step, self.steps)
        while True:
            order = np.random.default_rng((self.seed, epoch)).permutation(len(self.images))
            for i in range(place, self.steps):
                chosen = order[i * self.batch_size : (i + 1) * self.batch_size][self.rows]
                yield self.images[chosen], self.labels[chosen]
            epoch, place = epoch + 1, 0
