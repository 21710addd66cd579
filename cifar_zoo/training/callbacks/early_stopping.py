"""The callback that ends the training when the network no longer improves on held-out images."""

from __future__ import annotations

import math
from typing import Any

import keras

from cifar_zoo.backend.values import to_numpy
from cifar_zoo.training.callbacks.session import Session


class EarlyStopping(keras.callbacks.Callback):
    """Ends the training when the loss on held-out images has not fallen for some epochs, and keeps the best weights.

    A resumed run stops in the same epoch as an uninterrupted one, which it would not with Keras' own callback of this
    name: the best weights are variables, for checkpoints, and all else follows from the history.

    Args:
        session: `Session` of the run, whose history has the loss as "val_loss".
        network: `keras.Model` whose weights are kept.
        patience: Integer. Number of epochs in a row without a lower loss.

    Attributes:
        variables: List of `keras.Variable`, the weights of the best epoch.
    """

    def __init__(self, session: Session, network: keras.Model, patience: int) -> None:
        super().__init__()
        self.session, self.network, self.patience = session, network, patience
        self.variables = [
            keras.Variable(to_numpy(weight), dtype=weight.dtype, trainable=False) for weight in network.weights
        ]

    @property
    def best_epoch(self) -> int:
        """The first epoch with the lowest loss, counted from 1; 0 before the first epoch."""
        losses = [math.inf if math.isnan(row["val_loss"]) else row["val_loss"] for row in self.session.history]
        return losses.index(min(losses)) + 1 if losses else 0

    @property
    def is_over(self) -> bool:
        """Whether the loss has not fallen for the last `patience` epochs."""
        return len(self.session.history) - self.best_epoch >= self.patience

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if len(self.session.history) != epoch + 1:  # interrupted within the epoch
            return
        if self.best_epoch == epoch + 1:
            _copy(self.network.weights, self.variables)
        if self.is_over:
            self.model.stop_training = True

    def restore(self) -> None:
        """Give the network the weights of the best epoch."""
        _copy(self.variables, self.network.weights)


def _copy(sources: list[keras.Variable], targets: list[keras.Variable]) -> None:
    for source, target in zip(sources, targets, strict=True):
        target.assign(keras.ops.copy(source))
