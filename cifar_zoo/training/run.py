"""A run on the disk: its directory, and the callback that keeps it up to date."""

from __future__ import annotations

import csv
import logging
import math
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
from keras import ops

from cifar_zoo.data.cifar10 import Split
from cifar_zoo.errors import CifarZooError
from cifar_zoo.files import check_room, read_history, read_json, write_atomically, write_json
from cifar_zoo.training.checkpoint import checkpoint_before, load_checkpoint, save_checkpoint, seed_step
from cifar_zoo.training.recipe import Recipe
from cifar_zoo.weights.files import save_weights

# With the step that is under way and the writing itself, no more than two minutes of a training can be lost.
CHECKPOINT_SECONDS = 110.0
# With JAX a look costs 10 ms where a network and its optimizer have 1200 variables; with the others, much less.
LOOK_SECONDS = 2.0

_log = logging.getLogger(__name__)


class RunDirectory:
    """The files of a run.

    Args:
        path: the directory; made where there is none.
        config: what the run is, as plain values.
        resume: whether there may be a run already. Its configuration must be the same.

    Raises:
        CifarZooError: if the directory holds another run, which is left alone.
    """

    def __init__(self, path: Path, config: dict[str, Any], resume: bool) -> None:
        self.path = path
        config_file = path / "config.json"
        if not config_file.exists():
            path.mkdir(parents=True, exist_ok=True)
            write_json(config_file, config)
            return
        if not resume:
            raise CifarZooError(f"{path} holds a run already; choose another run directory, or resume it")
        earlier = read_json(config_file)
        if isinstance(recipe := earlier.get("recipe"), dict):  # an older version did not know all fields of today
            earlier["recipe"] = Recipe().to_dict() | recipe
        for key, value in config.items():
            if earlier.get(key) != value:
                was, wanted = _differences(earlier.get(key), value)
                raise CifarZooError(
                    f"{path} holds a run with {key} = {was!r}, not {wanted!r}; choose another run directory"
                )

    @property
    def checkpoint(self) -> Path:
        """The state of an unfinished run; the one before it lies beside it."""
        return self.path / "checkpoint.npz"

    @property
    def weights(self) -> Path:
        """The final weights."""
        return self.path / "model.weights.h5"

    @property
    def metrics(self) -> dict[str, Any]:
        """The final metrics; empty for a run that has not ended."""
        file = self.path / "metrics.json"
        return read_json(file) if file.exists() else {}

    def finish(self, model: keras.Model, history: list[dict[str, float]], metrics: dict[str, Any]) -> None:
        """Write what a run ends with.

        Raises:
            CifarZooError: if it cannot be written. The run is unfinished then, and keeps its checkpoints.
        """
        size = 4 * model.count_params() + 4096 * len(model.variables) + 65536
        try:
            for folder in (Path(tempfile.gettempdir()), self.path):
                check_room(folder, size)  # on a full disk, HDF5 ends in a segmentation fault
            self.write_history(history)
            save_weights(model, self.weights)
            write_json(self.path / "metrics.json", metrics)
        except OSError as error:
            raise CifarZooError(
                f"the training is done, but not written ({error}); the same command ends it from the last checkpoint"
            ) from error
        checkpoint_before(self.checkpoint).unlink(missing_ok=True)

    def history(self) -> list[dict[str, float]]:
        """One dict an epoch."""
        return read_history(self.path / "history.csv")

    def write_history(self, rows: list[dict[str, float]]) -> None:
        """Write all epochs anew."""

        def write(temporary: Path) -> None:
            with temporary.open("w", newline="") as file:
                table = csv.DictWriter(file, list(rows[0]))
                table.writeheader()
                table.writerows(rows)

        if rows:
            write_atomically(self.path / "history.csv", write)


def _differences(one: Any, other: Any) -> tuple[Any, Any]:
    """The same two values; of two dicts, only the fields that differ."""
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return one, other
    names = [name for name in one | other if one.get(name) != other.get(name)]
    return {name: one.get(name) for name in names}, {name: other.get(name) for name in names}


class Clock:
    """Says when a checkpoint is due and when the time is up.

    The time means something only after the device has been waited for, which may be many steps behind the host. So it
    is looked at seldom, about every two seconds.

    Args:
        deadline: when the time is up, by `time.monotonic()`.
    """

    def __init__(self, deadline: float = math.inf) -> None:
        self._deadline = deadline
        self._now = self._checkpoint_began = time.monotonic()
        self.checkpoint_took = 0.0
        self._step, self._stride = 0, 1

    def start(self, step: int) -> None:
        """Begin to count at a step, which the device has done."""
        self._step, self._now = step, time.monotonic()

    def wants_look(self, step: int) -> bool:
        """Whether it is time to wait for the device, and to look."""
        return step - self._step >= self._stride

    def look(self, step: int) -> None:
        """Read the time, now that the device has done a step, and plan the next look by the time of the last steps."""
        before, self._now = self._now, time.monotonic()
        pace = (self._now - before) / max(step - self._step, 1)
        wait = min(LOOK_SECONDS, self._deadline - self._now)
        self._stride = max(1, min(2 * self._stride, int(wait / max(pace, 1e-6))))  # a few steps are no good measure
        self._step = step

    @property
    def time_is_up(self) -> bool:
        """Whether the deadline had passed at the last look."""
        return self._now > self._deadline

    def checkpoint_is_due(self, epoch_ends: bool = False) -> bool:
        """Whether one was at the last look. At the end of an epoch it is as soon as it costs two percent at most."""
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


class Keeper(keras.callbacks.Callback):
    """Keeps the history, measures the held-out images, writes checkpoints, and watches the time.

    Args:
        run: the directory.
        steps: steps an epoch.
        batch_size: images a step.
        seed: of the run.
        held_out: images and labels to be measured after every epoch, or None.
        started: when the session began, by `time.monotonic()`.
        minutes: the session's time, of which the last twentieth is left for the checkpoint; or None.
    """

    def __init__(
        self,
        run: RunDirectory,
        steps: int,
        batch_size: int,
        seed: int,
        held_out: Split | None,
        started: float,
        minutes: float | None,
    ) -> None:
        super().__init__()
        self.run, self.steps, self.batch_size, self.seed = run, steps, batch_size, seed
        self.held_out, self.started = held_out, started
        self.clock = Clock(math.inf if minutes is None else started + 60 * minutes * 0.95)
        self.history: list[dict[str, float]] = []
        self.out_of_time = self.stopped = False
        self._training = self._interrupted = self._disk_fails = False
        self._saved_step = -1
        self._earlier_seconds = 0.0
        self._partial_metrics: list | None = None

    @property
    def seconds(self) -> float:
        """Time spent on the run, earlier sessions included."""
        return self._earlier_seconds + time.monotonic() - self.started

    def restore(self, trainer: keras.Model) -> None:
        """Put a trainer where the checkpoint left off, if there is one."""
        if state := load_checkpoint(self.run.checkpoint, _state(trainer)):
            self.history, self._earlier_seconds = state["history"], state["seconds"]
            self._partial_metrics = state["partial_metrics"]
            self._write_history()  # the end may have come between the checkpoint and this file

    @contextmanager
    def heeding_interrupts(self) -> Iterator[None]:
        """Let Ctrl-C end the training only after the step that is under way, with a checkpoint; twice, at once."""
        usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if not usual or threading.current_thread() is not threading.main_thread():
            yield
            return

        def note(number: int, frame: Any) -> None:
            if self._interrupted or not self._training:
                signal.default_int_handler(number, frame)
            self._interrupted = True

        signal.signal(signal.SIGINT, note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def on_train_begin(self, logs: Any = None) -> None:
        self._training = True

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._first_step = int(self.model.optimizer.iterations)
        self._epoch_started = time.monotonic()
        self.clock.start(self._first_step)
        if self._partial_metrics:  # of the part of this epoch before the break; Keras has just reset them
            for variable, value in zip(self.model.metrics_variables, self._partial_metrics, strict=True):
                variable.assign(value)
            self._partial_metrics = None

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        step = self._first_step + batch
        seed_step(self.seed, step)
        if not (self.clock.wants_look(step) or self._interrupted):
            return
        loss = float(self.model.get_metrics_result()["loss"])  # waits for the device
        self.clock.look(step)
        if self.clock.time_is_up and not self._interrupted:
            self.out_of_time = self.model.stop_training = True
        elif self.clock.checkpoint_is_due() or self._interrupted:
            self._check(loss, step // self.steps)
            self._save(step)
        if self._interrupted:
            raise KeyboardInterrupt

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs = {} if logs is None else logs
        self._check(logs.get("loss", 0.0), epoch)
        step = int(self.model.optimizer.iterations)
        self.clock.look(step)
        if step % self.steps:  # broken off within the epoch
            self._save(step)
            return
        seconds = time.monotonic() - self._epoch_started
        if self.held_out is not None:  # into the logs, where later callbacks find it
            measured = self.model.evaluate(*self.held_out, batch_size=500, verbose=0, return_dict=True)
            logs.update({f"val_{name}": value for name, value in measured.items()})
            self.clock.start(step)
        self.history.append(
            {
                "epoch": epoch + 1,
                **{name: float(value) for name, value in logs.items()},
                "learning_rate": float(self.model.optimizer.learning_rate),
                "images_per_second": (step - self._first_step) * self.batch_size / seconds,
                "seconds": self.seconds,
            }
        )
        if self.clock.time_is_up:
            self.out_of_time = self.model.stop_training = True
        elif self.clock.checkpoint_is_due(epoch_ends=True):
            self._save(step)
        self._write_history()

    def on_train_end(self, logs: Any = None) -> None:
        self._training = False
        self.stopped = bool(self.model.stop_training)
        step = int(self.model.optimizer.iterations)
        if step != self._saved_step:
            self._save(step)
        if self._interrupted:
            raise KeyboardInterrupt

    def _check(self, loss: float, epoch: int) -> None:
        if not math.isfinite(loss):
            raise CifarZooError(
                f"the loss is {loss} in epoch {epoch + 1}; lower the recipe's learning_rate or set its global_clipnorm "
                f"(what {self.run.path} holds is from before)"
            )

    def _save(self, step: int) -> None:
        """Write a checkpoint. A full disk ends no training, unless this is where it stops for time."""
        partial = None
        if step % self.steps:  # within an epoch
            partial = [ops.convert_to_numpy(variable).tolist() for variable in self.model.metrics_variables]
        state = {"history": self.history, "seconds": self.seconds, "partial_metrics": partial}
        try:
            with self.clock.writing_checkpoint():
                save_checkpoint(self.run.checkpoint, _state(self.model), state)
            self._saved_step = step
            self._epoch_started += self.clock.checkpoint_took  # which says nothing about the network's speed
        except OSError as error:
            if self.out_of_time:
                raise CifarZooError(f"{error}; the same command goes on from the checkpoint before") from error
            self._tell(error)

    def _write_history(self) -> None:
        try:
            self.run.write_history(self.history)
        except OSError as error:  # all of it is in the next checkpoint, and written at the end once more
            self._tell(error)

    def _tell(self, error: OSError) -> None:
        """Say once that the disk is full."""
        if not self._disk_fails:
            _log.warning("%s; the training goes on, and writing is tried again later", error)
        self._disk_fails = True


def _state(trainer: keras.Model) -> list[keras.Variable]:
    """All that the rest of a training depends on: weights, statistics, random generators, and the optimizer's."""
    return [*trainer.variables, *trainer.optimizer.variables]
