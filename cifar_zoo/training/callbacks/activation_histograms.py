"""The callback that follows the activations of a layer over a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np

from cifar_zoo.evaluation.inspection import activation_histogram
from cifar_zoo.files import named_path, write_atomically


class ActivationHistograms(keras.callbacks.Callback):
    """Counts after each epoch, and before the first one, how often a layer gives which values.

    Args:
        network: `keras.Model` that is trained, as it was given to `fit_cifar10`.
        layer: Name of one of its layers.
        images: Pixels 0..255 (n, rows, columns, channels); a few hundred are enough.
        range: The lowest and the highest value that are counted.
        bins: Integer. Number of bins.
        path: Path of an .npz file that is written after each epoch with the arrays `counts` and `edges`, or None.

    Attributes:
        counts: List with integers (bins,) for each time.
        edges: The edges of the bins (bins + 1,).

    Raises:
        CifarZooError: If there is no such layer, or the images are too small.
    """

    def __init__(
        self,
        network: keras.Model,
        layer: str,
        images: np.ndarray,
        range: tuple[float, float],
        bins: int = 100,
        path: str | Path | None = None,
    ) -> None:
        super().__init__()
        self.network, self.layer, self.images, self.range, self.bins = network, layer, images, range, bins
        self.path = None if path is None else named_path(path)
        counts, self.edges = activation_histogram(network, layer, images, bins, range)
        self.counts = [counts]

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        counts, _ = activation_histogram(self.network, self.layer, self.images, self.bins, self.range)
        self.counts.append(counts)
        if self.path is not None:
            write_atomically(self.path, self._write)

    def _write(self, path: Path) -> None:
        with path.open("wb") as file:
            np.savez(file, counts=np.stack(self.counts), edges=self.edges)
