"""Checkpoints of a run: the newest one, and the one before it in case the newest is damaged."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np

from cifar_zoo.errors import CifarZooError
from cifar_zoo.files import write_atomically

_log = logging.getLogger(__name__)


def checkpoint_before(path: Path) -> Path:
    """Where the checkpoint before the one at `path` is kept."""
    return path.with_stem(f"{path.stem}-before")


def save_checkpoint(path: Path, variables: list, state: dict[str, Any]) -> None:
    """Write the values of Keras variables and a small JSON state to one file, and keep the file that was there.

    Raises:
        OSError: if the file cannot be written. The earlier ones are then as they were.
    """
    from keras import ops

    arrays = {_name(i): ops.convert_to_numpy(variable) for i, variable in enumerate(variables)}
    arrays["state"] = np.frombuffer(json.dumps(state).encode(), dtype=np.uint8)

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez(file, **arrays)

    try:
        write_atomically(path, write, before=checkpoint_before(path))
    except OSError as error:
        size = sum(array.nbytes for array in arrays.values())
        raise OSError(error.errno, f"{error.strerror}, and {size / 1e6:.1f} MB are needed", str(path)) from error


def load_checkpoint(path: Path, variables: list) -> dict[str, Any] | None:
    """Give the variables their values back and return the state; None where there is no checkpoint.

    Where the newest checkpoint cannot be used, the one before it takes its place, and one line says so.

    Raises:
        CifarZooError: if there are checkpoints and none of them can be used. Nothing is changed then.
    """
    before = checkpoint_before(path)
    reasons = {}
    for file in (path, before):
        if not file.exists():
            continue
        try:
            values, state = _read(file, variables)
        except Exception as error:  # zipfile, zlib, json, NumPy and the system each have their own
            reasons[file] = f"{file} cannot be read as a checkpoint ({error or type(error).__name__})"
            continue
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        if path in reasons:
            _log.warning("%s; the run goes on from %s, the one before it", reasons[path], before.name)
        if file is before:
            before.replace(path)  # or the next checkpoint would put the damaged one in this one's place
        return state
    if reasons:
        raise CifarZooError(f"{'; '.join(reasons.values())}; bring back a copy, or choose another run directory")
    return None


def _read(path: Path, variables: list) -> tuple[list[np.ndarray], dict[str, Any]]:
    """The values and the state of a file; its checksums are compared in reading. Raises where it does not fit."""
    with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    state = json.loads(arrays.pop("state").tobytes())
    shapes = {_name(i): tuple(variable.shape) for i, variable in enumerate(variables)}
    if {name: value.shape for name, value in arrays.items()} != shapes:
        raise ValueError(f"its {len(arrays)} variables are not the {len(shapes)} of this run's network and optimizer")
    return [arrays[name] for name in shapes], state


def _name(index: int) -> str:
    return f"variable_{index:05d}"


def seed_step(seed: int, step: int) -> None:
    """Make what PyTorch's own random generators give in a step a function of the step.

    Keras' dropout without a seed draws from them. The other backends draw from variables, which the checkpoint holds.
    """
    import keras

    if keras.backend.backend() == "torch":
        import torch

        torch.manual_seed(int(np.random.SeedSequence((seed, step)).generate_state(1)[0]))
