"""Waiting for the device now and then."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import keras

from cifar_zoo.errors import CifarZooError
from cifar_zoo.training.callbacks.session import Session
from cifar_zoo.training.seeds import seed_step


class SyncListener(Protocol):
    """A callback that acts within an epoch, between two steps."""

    def on_device_sync(self, step: int) -> None:
        """Is called when the device has done so many steps of the run, and no other is under way."""


class DeviceSync(keras.callbacks.Callback):
    """Waits for the device when the clock says so, checks the loss, and then calls its listeners in order.

    Args:
        session: of the run.
        listeners: callbacks with a method `on_device_sync(step)`.

    Raises:
        CifarZooError: where the loss is not finite.
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
                f"(what {self.session.run.path} holds is from before)"
            )
