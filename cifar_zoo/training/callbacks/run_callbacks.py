"""The callbacks of a whole run as one."""

from __future__ import annotations

from typing import Any

import keras


class RunCallbacks(keras.callbacks.CallbackList):
    """A list of callbacks for which several calls of `fit` are one training.

    What is left of a broken epoch takes a call of its own. Callbacks with a state, such as `EarlyStopping`, must not
    begin anew after it: they hear of the beginning and the end of the training from `begin` and `end` alone.
    """

    def on_train_begin(self, logs: Any = None) -> None:
        """Do nothing: see `begin`."""

    def on_train_end(self, logs: Any = None) -> None:
        """Do nothing: see `end`."""

    def begin(self) -> None:
        """Tell the callbacks that the training begins."""
        super().on_train_begin()

    def end(self, logs: dict[str, Any] | None = None) -> None:
        """Tell the callbacks that the training has ended."""
        super().on_train_end(logs)
