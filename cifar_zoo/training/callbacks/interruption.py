"""The callback that ends the training after Ctrl-C or SIGTERM."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import keras

from cifar_zoo.backend.processes import largest
from cifar_zoo.training.clock import Clock


class Interruption(keras.callbacks.Callback):
    """Ends the training after the current step with a checkpoint on Ctrl-C or SIGTERM. A second signal ends it at once.

    Ctrl-C then raises KeyboardInterrupt as usual. SIGTERM, which cluster schedulers send, raises SystemExit with the
    exit code 143. Where several processes train, a signal to one of them ends all of them at the next device sync.

    Args:
        clock: `Clock` of the session, from which a signal requests a device sync.
        save: Function that writes a checkpoint, given the number of completed steps.
    """

    def __init__(self, clock: Clock, save: Callable[[int], None]) -> None:
        super().__init__()
        self.clock, self.save = clock, save
        self._training, self._signal = False, 0

    @contextmanager
    def handling_signals(self) -> Iterator[None]:
        """Handle these signals within this context.

        A signal with a handler other than the default is left alone, and so are both outside of the main thread.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        defaults = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
        ours = {number: default for number, default in defaults.items() if signal.getsignal(number) == default}
        for number in ours:
            signal.signal(number, self._note)
        try:
            yield
        finally:
            for number, default in ours.items():
                signal.signal(number, default)

    def _note(self, number: int, frame: Any) -> None:
        if self._signal or not self._training:
            _end(number)
        self._signal = number
        self.clock.request_sync()

    def on_train_begin(self, logs: Any = None) -> None:
        self._training = True

    def on_device_sync(self, step: int) -> None:
        if number := largest(self._signal):
            self.save(step)
            _end(number)

    def on_train_end(self, logs: Any = None) -> None:
        self._training = False
        if number := largest(self._signal):
            _end(number)


def _end(number: int) -> NoReturn:
    if number == signal.SIGTERM:
        raise SystemExit(128 + number)
    raise KeyboardInterrupt
