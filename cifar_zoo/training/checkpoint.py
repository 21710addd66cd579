"""Checkpoints of a run: the newest one, and the previous one in case the newest is damaged."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import keras
import numpy as np
import pydantic
from keras import ops

from cifar_zoo.errors import CifarZooError
from cifar_zoo.files import write_atomically

_log = logging.getLogger(__name__)


class RunState(pydantic.BaseModel):
    """What a checkpoint holds beside the values of variables.

    Attributes:
        history: one row an epoch, all with the same columns.
        seconds: time spent on the run.
        partial_metrics: values of the metrics' variables within an epoch; None at its end.
        run: hash of the configuration of the run that the checkpoint is of.
    """

    model_config = pydantic.ConfigDict(extra="forbid", strict=True)

    history: list[dict[str, int | float]]
    seconds: Annotated[float, pydantic.Field(ge=0, allow_inf_nan=False)]
    partial_metrics: list[Any] | None
    run: str = ""

    def check(self, run: str, steps: int, step: int, metrics: list[tuple[int, ...]]) -> None:
        """Raise ValueError where the state does not fit a run.

        Args:
            run: hash of its configuration.
            steps: steps an epoch.
            step: number of steps that have been taken by the checkpoint.
            metrics: shapes of the metrics' variables.
        """
        if self.run != run:
            raise ValueError("it is of another run: another configuration, network or data")
        if len(self.history) != step // steps or any(row.keys() != self.history[0].keys() for row in self.history):
            raise ValueError(f"its history of {len(self.history)} epochs is not that of {step} steps")
        if (self.partial_metrics is None) != (step % steps == 0):
            raise ValueError(f"it has {'no ' * (self.partial_metrics is None)}metrics of a part of an epoch")
        if self.partial_metrics is not None:
            shapes = [np.asarray(value, dtype="float64").shape for value in self.partial_metrics]
            if shapes != metrics:
                raise ValueError(f"its metrics have the shapes {shapes}, not {metrics}")


def previous_checkpoint(path: Path) -> Path:
    """Where the previous checkpoint of the one at `path` is kept."""
    return path.with_stem(f"{path.stem}-previous")


def save_checkpoint(path: Path, variables: list[keras.Variable], state: dict[str, Any]) -> None:
    """Write the values of Keras variables and a small JSON state to one file, and keep the file that was there.

    Args:
        path: the file.
        variables: Keras variables.
        state: the fields of `RunState`.

    Raises:
        OSError: if the file cannot be written. The earlier ones are then as they were.
    """
    arrays = {_name(i): ops.convert_to_numpy(variable) for i, variable in enumerate(variables)}
    arrays["state"] = np.frombuffer(json.dumps(state).encode(), dtype=np.uint8)

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez(file, **arrays)

    try:
        write_atomically(path, write, before=previous_checkpoint(path))
    except OSError as error:
        size = sum(array.nbytes for array in arrays.values())
        raise OSError(error.errno, f"{error.strerror}, and {size / 1e6:.1f} MB are needed", str(path)) from error


def load_checkpoint(
    path: Path, variables: list[keras.Variable], check: Callable[[RunState, list[np.ndarray]], None] | None = None
) -> dict[str, Any] | None:
    """Give Keras variables their values back and return the state; None where there is no checkpoint.

    Where the newest checkpoint cannot be used, the previous one takes its place, and one line says so.

    Args:
        path: the newest checkpoint.
        variables: Keras variables, as they were saved.
        check: is called with the state and the values of the variables, and raises ValueError where these do not fit
            the run.

    Raises:
        CifarZooError: if there are checkpoints and none of them can be used. Nothing is changed then.
    """
    previous = previous_checkpoint(path)
    reasons = {}
    for file in (path, previous):
        if not file.exists():
            continue
        try:
            values, state = _read(file, variables, check)
        except Exception as error:  # zipfile, zlib, json, NumPy and the system each have their own
            reason = " ".join(str(error).split()) or type(error).__name__
            reasons[file] = f"{file} cannot be read as a checkpoint ({reason})"
            continue
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        if path in reasons:
            _log.warning("%s; the run goes on from %s, the previous one", reasons[path], previous.name)
        if file is previous:
            previous.replace(path)  # or the next checkpoint would put the damaged one in this one's place
        return state
    if reasons:
        raise CifarZooError(f"{'; '.join(reasons.values())}; bring back a copy, or choose another run directory")
    return None


def _read(
    path: Path, variables: list[keras.Variable], check: Callable[[RunState, list[np.ndarray]], None] | None
) -> tuple[list[np.ndarray], dict[str, Any]]:
    """The values and the state of a file; its checksums are compared in reading. Raises where it does not fit."""
    with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    if "state" not in arrays:
        raise ValueError("it has no state")
    state = json.loads(arrays.pop("state").tobytes())
    kinds = {_name(i): (tuple(variable.shape), variable.dtype) for i, variable in enumerate(variables)}
    if {name: (value.shape, value.dtype.name) for name, value in arrays.items()} != kinds:
        raise ValueError(f"its {len(arrays)} variables are not the {len(kinds)} of this run's network and optimizer")
    values = [arrays[name] for name in kinds]
    checked = RunState.model_validate(state)
    if check is not None:
        check(checked, values)
    return values, state


def _name(index: int) -> str:
    return f"variable_{index:05d}"
