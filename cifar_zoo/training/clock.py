"""The times at which a training synchronizes with its device, writes a checkpoint and stops."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

from cifar_zoo.backend.processes import of_process_0, process_count

# Together with the current step and the time for writing, at most two minutes of training can be lost.
CHECKPOINT_SECONDS = 110.0
# On JAX, a sync takes 10 ms for a network and optimizer of 1200 variables; on the other backends, much less.
SYNC_SECONDS = 2.0


class Clock:
    """Decides when to synchronize with the device, when to write a checkpoint and when the time limit is reached.

    Steps run asynchronously, so elapsed time is meaningful only after a device sync. A sync stalls the device and is
    therefore done only about every two seconds.

    Where several processes train, the times are those of process 0, so that all of them take the same decisions. Every
    method but `sync_is_due` and `request_sync` must then be called by all processes at the same step.

    Args:
        deadline: Float. Time limit, as a value of `time.monotonic()`.
        started: Float. Start of the training, as a value of `time.monotonic()`, or None for the current time.

    Attributes:
        checkpoint_took: Float. Seconds that the last checkpoint took to write.
        spent_on_checkpoints: Float. Seconds that all checkpoints took to write.
    """

    def __init__(self, deadline: float = math.inf, started: float | None = None) -> None:
        self._deadline = of_process_0(deadline)
        self._now = self._checkpoint_began = _time()
        self._started = time.monotonic() if started is None else started
        self._alone = process_count() == 1
        self.checkpoint_took = self.spent_on_checkpoints = 0.0
        self._step, self._stride = 0, 1

    @property
    def seconds(self) -> float:
        """Seconds since the start of the training."""
        return time.monotonic() - self._started

    def start(self, step: int) -> None:
        """Start counting at a step up to which the device has finished."""
        self._step, self._now = step, _time()

    def sync_is_due(self, step: int) -> bool:
        """Whether to synchronize with the device before this step."""
        return step - self._step >= self._stride

    def request_sync(self) -> None:
        """Request a device sync before the next step, if no other process would have to know."""
        if self._alone:
            self._stride = 0

    def synced(self, step: int) -> None:
        """Record a device sync at a step, and schedule the next one from the duration of the steps since the last."""
        before, self._now = self._now, _time()
        pace = (self._now - before) / max(step - self._step, 1)
        wait = min(SYNC_SECONDS, self._deadline - self._now)
        self._stride = max(1, min(2 * self._stride, int(wait / max(pace, 1e-6))))  # few steps give a poor estimate
        self._step = step

    @property
    def time_is_up(self) -> bool:
        """Whether the time limit had been reached at the last sync."""
        return self._now > self._deadline

    def checkpoint_is_due(self, epoch_ends: bool = False) -> bool:
        """Whether a checkpoint is due, judged at the last sync.

        Args:
            epoch_ends: Boolean. Whether an epoch has ended here. If so, a checkpoint is also due when writing it takes
                at most two percent of the time since the last one.
        """
        patience = min(CHECKPOINT_SECONDS, 50 * self.checkpoint_took) if epoch_ends else CHECKPOINT_SECONDS
        return self._now - self._checkpoint_began > patience

    @contextmanager
    def writing_checkpoint(self) -> Iterator[None]:
        """Measure the time for writing a checkpoint within this context."""
        self._checkpoint_began = _time()
        try:
            yield
        finally:
            self._now = _time()
            self.checkpoint_took = self._now - self._checkpoint_began
            self.spent_on_checkpoints += self.checkpoint_took


def _time() -> float:
    return of_process_0(time.monotonic())
