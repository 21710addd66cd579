"""A network in a .keras file, such as `finetune` writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeGuard

from cifar_zoo.errors import CifarZooError
from cifar_zoo.files import named_path, open_file
from cifar_zoo.lazy import keras

SUFFIX = ".keras"


def is_keras_file(model: Any) -> TypeGuard[str | Path]:
    """Whether a model is given as the path of a .keras file."""
    return isinstance(model, (str, Path)) and str(model).endswith(SUFFIX)


def load_keras_file(path: str | Path) -> keras.Model:
    """Load the network in a .keras file. Keras runs no code that the file may contain.

    Raises:
        CifarZooError: If there is no such file, or Keras cannot load it.
    """
    open_file(path).close()
    try:
        return keras.saving.load_model(named_path(path))
    except Exception as error:  # Keras, zipfile, json and h5py raise many types for damaged files
        raise CifarZooError(
            f"{str(path)!r} cannot be loaded by Keras: {str(error) or type(error).__name__:.300}"
        ) from error
