"""The callback that writes checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from cifar_zoo.backend.values import to_numpy
from cifar_zoo.errors import CifarZooError
from cifar_zoo.training.callbacks.session import Session
from cifar_zoo.training.checkpoint import RunState, load_checkpoint, save_checkpoint


class Checkpointing(keras.callbacks.Callback):
    """Writes a checkpoint at least every two minutes, between two epochs if this is cheap, and after the training.

    Args:
        session: `Session` of the run.
        more: Variables of the run besides those of the network and the optimizer.
    """

    def __init__(self, session: Session, more: Sequence[keras.Variable] = ()) -> None:
        super().__init__()
        self.session, self.more = session, more
        self._saved_step = -1
        self._epoch_ended = False
        self._partial_metrics: list[Any] | None = None

    def restore(self, trainer: keras.Model) -> None:
        """Restore the state of a trainer and of the session from the newest checkpoint, if there is one."""
        variables = self._all_variables(trainer)
        place = next(i for i, variable in enumerate(variables) if variable is trainer.optimizer.iterations)
        shapes = [tuple(variable.shape) for variable in trainer.metrics_variables]

        def check(state: RunState, values: list[np.ndarray]) -> None:
            state.check(self.session.run.identity, self.session.steps, int(values[place]), shapes)

        if state := load_checkpoint(self.session.run.checkpoint, variables, check):
            self.session.history, self.session.earlier_seconds = state["history"], state["seconds"]
            self._partial_metrics = state["partial_metrics"]

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if self._partial_metrics:  # of an interrupted epoch; Keras has just reset the metrics
            for variable, value in zip(self.model.metrics_variables, self._partial_metrics, strict=True):
                variable.assign(value)
            self._partial_metrics = None
        # Not before, as other callbacks may change the learning rate or the weights at the end of an epoch.
        if self._epoch_ended and self.session.clock.checkpoint_is_due(epoch_ends=True):
            self.save(int(self.model.optimizer.iterations))

    def on_device_sync(self, step: int) -> None:
        if self.session.clock.checkpoint_is_due() and not self.session.out_of_time:
            self.save(step)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        step = int(self.model.optimizer.iterations)
        self._epoch_ended = step % self.session.steps == 0
        if not self._epoch_ended:  # interrupted: save now, as a later callback may reset the metrics
            self.save(step)

    def on_train_end(self, logs: Any = None) -> None:
        self.save(int(self.model.optimizer.iterations))

    def save(self, step: int) -> None:
        """Write a checkpoint, unless one was written at this step already.

        If it cannot be written, for example to a full disk, a warning is logged and the training continues.

        Args:
            step: Integer. Number of completed steps of the run.

        Raises:
            CifarZooError: If it cannot be written when the time limit is reached.
        """
        if step == self._saved_step:
            return
        session, partial = self.session, None
        if step % session.steps:  # within an epoch
            partial = [to_numpy(variable).tolist() for variable in self.model.metrics_variables]
        state = RunState(
            history=session.history, seconds=session.seconds, partial_metrics=partial, run=session.run.identity
        )
        try:
            with session.clock.writing_checkpoint():
                save_checkpoint(session.run.checkpoint, self._all_variables(self.model), state.model_dump())
            self._saved_step = step
        except OSError as error:
            if session.out_of_time:
                raise CifarZooError(f"{error}; the same command resumes from the previous checkpoint") from error
            session.run.warn(error)

    def _all_variables(self, trainer: keras.Model) -> list[keras.Variable]:
        """Return all variables of a training: weights, batch-norm statistics, random generators, optimizer state."""
        return [*trainer.variables, *trainer.optimizer.variables, *self.more]
