"""The list of the callbacks of a run."""

from __future__ import annotations

from typing import Any

import keras


class RunCallbacks(keras.callbacks.CallbackList):
    """A `keras.callbacks.CallbackList` that treats several calls of `fit` as one training.

    The remaining steps of an interrupted epoch need a separate call of `fit`. Callbacks with a state, such as
    `EarlyStopping`, must not be reset after it. Therefore `on_train_begin` and `on_train_end` of the callbacks are
    called only by `begin` and `end`.
    """

    def on_train_begin(self, logs: Any = None) -> None:
        """Do nothing. See `begin`."""

    def on_train_end(self, logs: Any = None) -> None:
        """Do nothing. See `end`."""

    def begin(self) -> None:
        """Call `on_train_begin` of all callbacks."""
        super().on_train_begin()

    def end(self, logs: dict[str, Any] | None = None) -> None:
        """Call `on_train_end` of all callbacks."""
        super().on_train_end(logs)
