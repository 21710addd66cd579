"""The callback that records the history of a run."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from cifar_zoo.backend.distribution import predict
from cifar_zoo.backend.processes import of_process_0
from cifar_zoo.data.cifar10 import Split
from cifar_zoo.evaluation.metrics import accuracy, cross_entropy, to_logits
from cifar_zoo.training.callbacks.session import Session


class HistoryLogger(keras.callbacks.Callback):
    """Evaluates the held-out images after each epoch, and updates the session's history and history.csv.

    `val_loss` and `val_accuracy` are added to the logs, in which later callbacks find them.

    Args:
        session: `Session` of the run.
        held_out: Tuple of the held-out images and their labels, or None.
    """

    def __init__(self, session: Session, held_out: Split | None) -> None:
        super().__init__()
        self.session, self.held_out = session, held_out

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._first_step = int(self.model.optimizer.iterations)
        # The time for writing checkpoints does not count towards the throughput.
        self._began = self.session.clock.seconds - self.session.clock.spent_on_checkpoints

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        session, logs, step = self.session, {} if logs is None else logs, int(self.model.optimizer.iterations)
        if step % session.steps:  # interrupted within the epoch
            return
        seconds = session.clock.seconds - session.clock.spent_on_checkpoints - self._began
        if self.held_out is not None:
            images, labels = self.held_out
            scores = np.asarray(predict(self.model, images, 500))
            logits = scores if self.model.from_logits else to_logits(scores)
            # Those of process 0, as other processors may round differently, and callbacks end a training by them.
            logs.update(
                val_loss=of_process_0(cross_entropy(logits, labels)),
                val_accuracy=of_process_0(accuracy(logits, labels)),
            )
            session.clock.start(step)
        session.history.append(
            {
                "epoch": epoch + 1,
                **{name: float(value) for name, value in logs.items()},
                "learning_rate": float(self.model.optimizer.learning_rate),
                "images_per_second": (step - self._first_step) * session.batch_size / max(seconds, 1e-9),
                "seconds": session.seconds,
            }
        )
        self.write()

    def write(self) -> None:
        """Write history.csv. A failure only logs a warning, because checkpoints contain the history as well."""
        try:
            self.session.run.write_history(self.session.history)
        except OSError as error:
            self.session.run.warn(error)
