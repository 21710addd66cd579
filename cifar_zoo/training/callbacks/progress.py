"""The callback that shows the progress of a training."""

from __future__ import annotations

import sys
import time
from typing import Any

import keras
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn


class ProgressDisplay(keras.callbacks.Callback):
    """Shows a progress bar, refreshed twice a second, and prints one line per epoch.

    Args:
        epochs: Integer. Number of epochs of the run.
        steps: Integer. Number of steps in an epoch.
        batch_size: Integer. Number of images in a step.
        verbose: 0 = silent, 1 = progress bar and lines, 2 = lines only. "auto" becomes 1 on a terminal and 2 otherwise.
    """

    # This lets Keras call the batch hooks from another thread, so that no step waits for the logs of the previous one.
    async_safe = True

    def __init__(self, epochs: int, steps: int, batch_size: int, verbose: str | int = "auto") -> None:
        super().__init__()
        self.epochs, self.steps, self.batch_size = epochs, steps, batch_size
        if verbose == "auto":
            verbose = 1 if sys.stdout is not None and sys.stdout.isatty() else 2
        self.verbose = verbose if sys.stdout is not None else 0  # a windowed application has no standard output
        self._bar: Progress | None = None
        self._first_step = -1

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch = epoch
        self._offset = int(self.model.optimizer.iterations) - epoch * self.steps
        self._epoch_start = self._refreshed = time.monotonic()
        if self._first_step < 0:  # of this process, for the estimate of the remaining time
            self._first_step, self._start = epoch * self.steps + self._offset, self._epoch_start
        if self.verbose == 1:
            columns = (TextColumn("epoch {task.description}"), BarColumn(None), MofNCompleteColumn())
            self._bar = Progress(*columns, TextColumn("{task.fields[text]}"), transient=True)
            self._bar.start()
            self._task = self._bar.add_task(f"{epoch + 1}/{self.epochs}", total=self.steps, text="")

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        now = time.monotonic()
        if self._bar is not None and now - self._refreshed > 0.5:
            self._refreshed = now
            done = self._offset + batch + 1
            self._bar.update(self._task, completed=done, text=self._describe(logs or {}, done, batch + 1))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        if self.verbose:
            done = int(self.model.optimizer.iterations) - epoch * self.steps
            line = f"epoch {epoch + 1}/{self.epochs}  {self._describe(logs or {}, done, done - self._offset)}"
            Console(soft_wrap=True, highlight=False).print(line)

    def on_train_end(self, logs: Any = None) -> None:
        self.close()

    def close(self) -> None:
        """Remove the progress bar. This must also be called if the training ends with an exception."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _describe(self, logs: dict[str, Any], done: int, here: int) -> str:
        now, step = time.monotonic(), self._epoch * self.steps + done
        speed = here * self.batch_size / max(now - self._epoch_start, 1e-9)
        left = (now - self._start) / max(step - self._first_step, 1) * (self.epochs * self.steps - step)
        parts = [f"{name.replace('_', ' ')} {float(logs[name]):.4f}" for name in ("loss", "accuracy") if name in logs]
        parts += [f"{name} {float(logs[name]):.4f}" for name in ("val_loss", "val_accuracy") if name in logs]
        rate = float(self.model.optimizer.learning_rate_at(step))
        parts += [f"lr {rate:.4g}", f"{speed:.0f} images/s", f"{_duration(left)} left"]
        return "  ".join(parts)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"
