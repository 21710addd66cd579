"""The callback that synchronizes with the device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import keras

from cifar_zoo.backend.seeds import seed_step
from cifar_zoo.errors import CifarZooError
from cifar_zoo.training.callbacks.session import Session


class SyncListener(Protocol):
    """A callback that is called after each device sync within an epoch."""

    def on_device_sync(self, step: int) -> None:
        """Called after the device has completed `step` steps of the run, while no step is running."""


class DeviceSync(keras.callbacks.Callback):
    """Synchronizes with the device when the clock requests it, checks the loss, and calls its listeners in order.

    Args:
        session: `Session` of the run.
        listeners: List of callbacks with a method `on_device_sync(step)`.

    Raises:
        CifarZooError: If the loss is not finite.
    """

    def __init__(self, session: Session, listeners: Sequence[SyncListener]) -> None:
        super().__init__()
        self.session, self.listeners = session, listeners

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._first_step = int(self.model.optimizer.iterations)
        self.session.clock.start(self._first_step)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        step = self._first_step + batch
        seed_step(self.session.seed, step)
        if not self.session.clock.sync_is_due(step):
            return
        loss = float(self.model.get_metrics_result()["loss"])  # waits for the device
        self.session.clock.synced(step)
        self._check(loss, step // self.session.steps)
        for listener in self.listeners:
            listener.on_device_sync(step)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._check((logs or {}).get("loss", 0.0), epoch)
        self.session.clock.synced(int(self.model.optimizer.iterations))

    def _check(self, loss: float, epoch: int) -> None:
        if not math.isfinite(loss):
            raise CifarZooError(
                f"the loss is {loss} in epoch {epoch + 1}; lower the recipe's learning_rate or set its global_clipnorm "
                f"(the files in {self.session.run.path} are from before this)"
            )
