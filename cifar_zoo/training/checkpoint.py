"""Checkpoints of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from cifar_zoo.errors import CifarZooError
from cifar_zoo.files import write_whole


def save_checkpoint(path: Path, variables: list, state: dict[str, Any]) -> None:
    """Write the values of Keras variables and a small JSON state to one file."""
    from keras import ops

    arrays = {f"variable_{i:05d}": ops.convert_to_numpy(variable) for i, variable in enumerate(variables)}
    arrays["state"] = np.frombuffer(json.dumps(state).encode(), dtype=np.uint8)

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez(file, **arrays)

    write_whole(path, write)


def load_checkpoint(path: Path, variables: list) -> dict[str, Any]:
    """Give the variables their values back and return the state. Nothing is changed where the file does not fit."""
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except Exception as error:  # zipfile, zlib, NumPy and the system each have their own
        raise CifarZooError(f"{path} cannot be read as a checkpoint ({error}); choose another run directory") from error
    state = json.loads(arrays.pop("state", np.empty(0, np.uint8)).tobytes() or b"{}")
    values = [arrays[name] for name in sorted(arrays)]
    expected, found = [tuple(v.shape) for v in variables], [value.shape for value in values]
    if expected != found:
        raise CifarZooError(f"{path} holds {len(found)} variables of another network or optimiser than this run's")
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    return state


def seed_step(seed: int, step: int) -> None:
    """Make what PyTorch's own random generators give in a step a function of the step.

    Keras' dropout without a seed draws from them. The other backends draw from variables, which the checkpoint holds.
    """
    import keras

    if keras.backend.backend() == "torch":
        import torch

        torch.manual_seed(int(np.random.SeedSequence((seed, step)).generate_state(1)[0]))
