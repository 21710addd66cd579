"""The callback that stops the training at its time limit."""

from __future__ import annotations

from typing import Any

import keras

from cifar_zoo.training.callbacks.session import Session


class Deadline(keras.callbacks.Callback):
    """Stops the training at the time limit of the session's clock, also within an epoch.

    Args:
        session: `Session` of the run. Its `out_of_time` is set to True when the training is stopped.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session

    def on_device_sync(self, step: int) -> None:
        if self.session.clock.time_is_up:
            self.session.out_of_time = self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.on_device_sync(int(self.model.optimizer.iterations))
