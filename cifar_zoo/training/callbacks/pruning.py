"""The callback that prunes a network while it is trained."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from cifar_zoo.backend.values import to_numpy


class Pruning(keras.callbacks.Callback):
    """Sets the smallest entries of all kernels to zero at the start of each epoch.

    The sparsity rises over the first half of the epochs, fast at first, as in Zhu and Gupta, "To prune, or not to
    prune" (2017, arXiv:1710.01878). Magnitudes are compared across layers. The optimizer must keep the zeros. A resumed
    training finds the zeros in its weights, so the callback has no state.

    Args:
        network: `keras.Model` that is pruned.
        sparsity: Float in [0, 1). Fraction of the entries that are zero in the end.
        epochs: Integer. Number of epochs of the training.
    """

    def __init__(self, network: keras.Model, sparsity: float, epochs: int) -> None:
        super().__init__()
        self.network = network
        self.sparsity = sparsity
        self.rise = max(epochs // 2, 1)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        left = 1 - min((epoch + 1) / self.rise, 1.0)
        prune(kernels(self.network), self.sparsity * (1 - left**3))


def kernels(network: keras.Model) -> list[keras.Variable]:
    """Return the trainable weights of two or more dimensions."""
    return [variable for variable in network.trainable_variables if len(variable.shape) > 1]


def prune(variables: list[keras.Variable], sparsity: float) -> None:
    """Set that fraction of the entries of several variables to zero which is smallest in magnitude."""
    values = [to_numpy(variable) for variable in variables]
    magnitudes = np.abs(np.concatenate([value.ravel() for value in values]))
    if count := round(sparsity * magnitudes.size):
        threshold = np.partition(magnitudes, count - 1)[count - 1]
        for variable, value in zip(variables, values, strict=True):
            variable.assign(np.where(np.abs(value) > threshold, value, 0))


def sparsity_of(network: keras.Model) -> float:
    """Return the fraction of the entries of all kernels of a network that are zero."""
    values = [to_numpy(variable) for variable in kernels(network)]
    return float(sum((value == 0).sum() for value in values) / sum(value.size for value in values))
