"""When a training waits for its device, writes a checkpoint, and stops for time."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

# With the step that is under way and the writing itself, no more than two minutes of a training can be lost.
CHECKPOINT_SECONDS = 110.0
# With JAX a sync costs 10 ms where a network and its optimizer have 1200 variables; with the others, much less.
SYNC_SECONDS = 2.0


class Clock:
    """Says when the device should be waited for, when a checkpoint is due, and when the time is up.

    The host hands steps to the device and does not wait for them, so its time means something only after a device
    sync. A sync stalls the device, and so there is one only about every two seconds.

    Args:
        deadline: when the time is up, by `time.monotonic()`.
        started: when the training began, by `time.monotonic()`; None for now.
    """

    def __init__(self, deadline: float = math.inf, started: float | None = None) -> None:
        self._deadline = deadline
        self._now = self._checkpoint_began = time.monotonic()
        self._started = self._now if started is None else started
        self.checkpoint_took = self.spent_on_checkpoints = 0.0
        self._step, self._stride = 0, 1

    @property
    def seconds(self) -> float:
        """Seconds since the training began."""
        return time.monotonic() - self._started

    def start(self, step: int) -> None:
        """Begin to count at a step, which the device has done."""
        self._step, self._now = step, time.monotonic()

    def sync_is_due(self, step: int) -> bool:
        """Whether to wait for the device before this step."""
        return step - self._step >= self._stride

    def request_sync(self) -> None:
        """Let a sync be due before the next step."""
        self._stride = 0

    def synced(self, step: int) -> None:
        """Read the time, now that the device has done a step, and plan the next sync by the time of the last steps."""
        before, self._now = self._now, time.monotonic()
        pace = (self._now - before) / max(step - self._step, 1)
        wait = min(SYNC_SECONDS, self._deadline - self._now)
        self._stride = max(1, min(2 * self._stride, int(wait / max(pace, 1e-6))))  # a few steps are no good measure
        self._step = step

    @property
    def time_is_up(self) -> bool:
        """Whether the deadline had passed at the last sync."""
        return self._now > self._deadline

    def checkpoint_is_due(self, epoch_ends: bool = False) -> bool:
        """Whether one was due at the last sync; at the end of an epoch, as soon as it costs two percent at most."""
        patience = min(CHECKPOINT_SECONDS, 50 * self.checkpoint_took) if epoch_ends else CHECKPOINT_SECONDS
        return self._now - self._checkpoint_began > patience

    @contextmanager
    def writing_checkpoint(self) -> Iterator[None]:
        """Measure how long a checkpoint takes."""
        self._checkpoint_began = time.monotonic()
        try:
            yield
        finally:
            self._now = time.monotonic()
            self.checkpoint_took = self._now - self._checkpoint_began
            self.spent_on_checkpoints += self.checkpoint_took
