"""A run on the disk: its directory, and the callback that keeps it up to date."""

from __future__ import annotations

import csv
import math
import time
from pathlib import Path
from typing import Any

import keras
from keras import ops

from cifar_zoo.data.cifar10 import Split
from cifar_zoo.errors import CifarZooError
from cifar_zoo.files import read_json, write_json, write_whole
from cifar_zoo.training.checkpoint import load_checkpoint, save_checkpoint, seed_step


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
        for key, value in config.items():
            if earlier.get(key) != value:
                raise CifarZooError(
                    f"{path} holds a run with {key} = {earlier.get(key)!r}, not {value!r}; choose another run directory"
                )

    @property
    def checkpoint(self) -> Path:
        """The state of an unfinished run."""
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

    def write_metrics(self, metrics: dict[str, Any]) -> None:
        """Write the final metrics, which ends the run."""
        write_json(self.path / "metrics.json", metrics)

    def history(self) -> list[dict[str, float]]:
        """One dict an epoch."""
        with (self.path / "history.csv").open(newline="") as file:
            rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
        return [{**row, "epoch": int(row["epoch"])} for row in rows]

    def write_history(self, rows: list[dict[str, float]]) -> None:
        """Write all epochs anew."""

        def write(temporary: Path) -> None:
            with temporary.open("w", newline="") as file:
                table = csv.DictWriter(file, list(rows[0]))
                table.writeheader()
                table.writerows(rows)

        if rows:
            write_whole(self.path / "history.csv", write)


class Keeper(keras.callbacks.Callback):
    """Keeps the history, measures the held-out pictures, writes checkpoints, and watches the time.

    Args:
        run: the directory.
        steps: steps an epoch.
        batch_size: pictures a step.
        seed: of the run.
        held_out: pictures and labels to be measured after every epoch, or None.
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
        self.deadline = math.inf if minutes is None else started + 60 * minutes * 0.95
        self.history: list[dict[str, float]] = []
        self.out_of_time = self.stopped = False
        self._earlier_seconds = 0.0
        self._partial_metrics: list | None = None

    @property
    def seconds(self) -> float:
        """Time spent on the run, earlier sessions included."""
        return self._earlier_seconds + time.monotonic() - self.started

    def restore(self, trainer: keras.Model) -> None:
        """Put a trainer where the checkpoint left off, if there is one."""
        if self.run.checkpoint.exists():
            state = load_checkpoint(self.run.checkpoint, _state(trainer))
            self.history, self._earlier_seconds = state["history"], state["seconds"]
            self._partial_metrics = state["partial_metrics"]
            self.run.write_history(self.history)  # the end may have come between the checkpoint and this file

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch_started = time.monotonic()
        self._first_step = int(self.model.optimizer.iterations)
        if self._partial_metrics:  # of the part of this epoch before the break; Keras has just reset them
            for variable, value in zip(self.model.metrics_variables, self._partial_metrics, strict=True):
                variable.assign(value)
            self._partial_metrics = None

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        seed_step(self.seed, self._first_step + batch)
        if self.deadline == math.inf:
            return
        if batch % 20 == 0:  # the device may be far behind the host: wait for it before the clock is read
            int(self.model.optimizer.iterations)
        if time.monotonic() > self.deadline:
            self.out_of_time = self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs = {} if logs is None else logs
        if not math.isfinite(logs.get("loss", 0.0)):
            raise CifarZooError(
                f"the loss is {logs['loss']} in epoch {epoch + 1}; lower the recipe's learning_rate or set its "
                f"clip_norm (what {self.run.path} holds is from before this epoch)"
            )
        step = int(self.model.optimizer.iterations)
        partial = None
        if step % self.steps:  # broken off within the epoch
            partial = [ops.convert_to_numpy(variable).tolist() for variable in self.model.metrics_variables]
        else:
            seconds = time.monotonic() - self._epoch_started
            if self.held_out is not None:  # into the logs, where later callbacks find it
                measured = self.model.evaluate(*self.held_out, batch_size=500, verbose=0, return_dict=True)
                logs.update({f"val_{name}": value for name, value in measured.items()})
            self.history.append(
                {
                    "epoch": epoch + 1,
                    **{name: float(value) for name, value in logs.items()},
                    "learning_rate": float(self.model.optimizer.learning_rate),
                    "pictures_per_second": (step - self._first_step) * self.batch_size / seconds,
                    "seconds": self.seconds,
                }
            )
        state = {
            "history": self.history,
            "seconds": self.seconds,
            "partial_metrics": partial,
        }
        save_checkpoint(self.run.checkpoint, _state(self.model), state)
        self.run.write_history(self.history)

    def on_train_end(self, logs: Any = None) -> None:
        self.stopped = bool(self.model.stop_training)


def _state(trainer: keras.Model) -> list[keras.Variable]:
    """All that the rest of a training depends on: weights, statistics, random generators, and the optimiser's."""
    return [*trainer.variables, *trainer.optimizer.variables]
