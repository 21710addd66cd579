"""Reading and writing of checkpoints. The previous one is kept in case the newest is damaged."""

from __future__ import annotations

import json
import logging
import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import keras
import numpy as np
import pydantic

from cifar_zoo.backend.processes import arrays_of_process_0, on_process_0
from cifar_zoo.backend.values import to_numpy
from cifar_zoo.errors import CifarZooError
from cifar_zoo.files import LARGEST_TEXT, open_regular, write_atomically
from cifar_zoo.npz import array_names, read_array

_log = logging.getLogger(__name__)


class RunState(pydantic.BaseModel):
    """The contents of a checkpoint besides the values of variables.

    Attributes:
        history: List of dicts, one per epoch, all with the same keys.
        seconds: Float. Time spent on the run.
        partial_metrics: List of the values of the metrics' variables for a checkpoint within an epoch, otherwise None.
        run: String. Hash of the configuration of the run.
    """

    model_config = pydantic.ConfigDict(extra="forbid", strict=True)

    history: list[dict[str, int | float]]
    seconds: Annotated[float, pydantic.Field(ge=0, allow_inf_nan=False)]
    partial_metrics: list[Any] | None
    run: str = ""

    def check(self, run: str, steps: int, step: int, metrics: list[tuple[int, ...]]) -> None:
        """Check that the state belongs to a run.

        Args:
            run: String. Hash of the configuration of the run.
            steps: Integer. Number of steps in an epoch.
            step: Integer. Number of steps of the run that were completed when the checkpoint was written.
            metrics: List of the shapes of the metrics' variables.

        Raises:
            ValueError: If it does not.
        """
        if self.run != run:
            raise ValueError("it belongs to another run: another configuration, network or data")
        if len(self.history) != step // steps or any(row.keys() != self.history[0].keys() for row in self.history):
            raise ValueError(f"its history of {len(self.history)} epochs does not match its {step} steps")
        if (self.partial_metrics is None) != (step % steps == 0):
            raise ValueError(f"it has {'no ' * (self.partial_metrics is None)}metrics of an unfinished epoch")
        if self.partial_metrics is not None:
            shapes = [np.asarray(value, dtype="float64").shape for value in self.partial_metrics]
            if shapes != metrics:
                raise ValueError(f"its metrics have the shapes {shapes}, not {metrics}")


def previous_checkpoint(path: Path) -> Path:
    """Return the path of the previous checkpoint, given the path of the newest."""
    return path.with_stem(f"{path.stem}-previous")


def save_checkpoint(path: Path, variables: list[keras.Variable], state: dict[str, Any]) -> None:
    """Write the values of variables and the state of a run to one file, and keep the existing file as the previous one.

    Where several processes train, process 0 writes it. The others wait, and raise the same error.

    Args:
        path: Path of the checkpoint.
        variables: List of `keras.Variable`.
        state: Dict with the fields of `RunState`.

    Raises:
        OSError: If the file cannot be written. The existing checkpoints are then unchanged.
    """
    on_process_0(lambda: _write(path, variables, state))


def load_checkpoint(
    path: Path, variables: list[keras.Variable], check: Callable[[RunState, list[np.ndarray]], None] | None = None
) -> dict[str, Any] | None:
    """Restore variables from the newest usable checkpoint and return its state.

    If the newest checkpoint cannot be used, a warning is logged and the previous one is used. Where several processes
    train, process 0 reads it for all.

    Args:
        path: Path of the newest checkpoint.
        variables: List of `keras.Variable`, in the order in which they were saved.
        check: Function that is called with the state and the values of the variables before they are assigned. It
            raises ValueError if they do not belong to the run.

    Returns: A dict with the fields of `RunState`, or None if there is no checkpoint.

    Raises:
        CifarZooError: If there are checkpoints, but none of them can be used. No variable is changed in this case.
    """
    values: list[np.ndarray] = []

    def read() -> dict[str, Any] | None:
        found = _newest_usable(path, variables, check)
        if found is None:
            return None
        values.extend(found[0])
        return found[1]

    state: dict[str, Any] | None = on_process_0(read)
    if state is not None:
        shapes, dtypes = [tuple(variable.shape) for variable in variables], [variable.dtype for variable in variables]
        for variable, value in zip(variables, arrays_of_process_0(values, shapes, dtypes), strict=True):
            variable.assign(value)
    return state


def _write(path: Path, variables: list[keras.Variable], state: dict[str, Any]) -> None:
    arrays: dict[str, Any] = {_name(i): to_numpy(variable) for i, variable in enumerate(variables)}
    arrays["state"] = np.frombuffer(json.dumps(state).encode(), dtype=np.uint8)

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez(file, **arrays)

    try:
        write_atomically(path, write, before=previous_checkpoint(path))
    except OSError as error:
        size = sum(array.nbytes for array in arrays.values())
        raise OSError(error.errno, f"{error.strerror}, and {size / 1e6:.1f} MB are needed", str(path)) from error


def _newest_usable(
    path: Path, variables: list[keras.Variable], check: Callable[[RunState, list[np.ndarray]], None] | None
) -> tuple[list[np.ndarray], dict[str, Any]] | None:
    """Read the newest checkpoint that can be used, which is the newest file from now on; None if there is no file."""
    previous = previous_checkpoint(path)
    reasons = {}
    for file in (path, previous):
        if not file.exists():
            continue
        try:
            values, state = _read(file, variables, check)
        except Exception as error:  # zipfile, zlib, json, NumPy and the system raise many types
            reason = " ".join(str(error).split()) or type(error).__name__
            reasons[file] = f"{file} cannot be read as a checkpoint ({reason})"
            continue
        if path in reasons:
            _log.warning("%s; the run resumes from %s, the previous one", reasons[path], previous.name)
        if file is previous:
            previous.replace(path)  # otherwise the next save would overwrite it with the damaged file
        return values, state
    if reasons:
        raise CifarZooError(f"{'; '.join(reasons.values())}; restore a copy, or choose another run directory")
    return None


def _read(
    path: Path, variables: list[keras.Variable], check: Callable[[RunState, list[np.ndarray]], None] | None
) -> tuple[list[np.ndarray], dict[str, Any]]:
    """Read the values and the state of a file, which verifies its checksums. Raises if it does not fit."""
    kinds = {_name(i): (tuple(variable.shape), variable.dtype) for i, variable in enumerate(variables)}
    with open_regular(path) as raw, zipfile.ZipFile(raw) as archive:
        names = array_names(archive)
        if "state" not in names:
            raise ValueError("it has no state")
        state = json.loads(read_array(archive, "state", LARGEST_TEXT).tobytes())
        arrays = {name: read_array(archive, name, 8 * math.prod(kinds[name][0])) for name in names if name in kinds}
    if (
        len(names) != len(kinds) + 1
        or {name: (value.shape, value.dtype.name) for name, value in arrays.items()} != kinds
    ):
        raise ValueError(
            f"its {len(names) - 1} variables do not match the {len(kinds)} of this run's network and optimizer"
        )
    values = [arrays[name] for name in kinds]
    checked = RunState.model_validate(state)
    if check is not None:
        check(checked, values)
    return values, state


def _name(index: int) -> str:
    return f"variable_{index:05d}"
