"""A network in a .keras file, such as `finetune` writes."""

from __future__ import annotations

import contextlib
import json
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeGuard

from cifar_zoo.errors import CifarZooError
from cifar_zoo.files import LARGEST_TEXT, named_path, open_file
from cifar_zoo.lazy import keras

SUFFIX = ".keras"
_WEIGHTS = "model.weights.h5"
# Keras writes archives without compression. Somebody who compresses one again gains little, unless it is pruned.
_MOST_EXPANSION = 20
_MOST_VALUES = 2**28  # of a layer for one image: 1 GB in float32


def is_keras_file(model: Any) -> TypeGuard[str | Path]:
    """Whether a model is given as the path of a .keras file."""
    return isinstance(model, (str, Path)) and str(model).endswith(SUFFIX)


def load_keras_file(path: str | Path) -> keras.Model:
    """Load the network in a .keras file. Keras runs no code that the file may contain.

    Raises:
        CifarZooError: If there is no such file, Keras cannot load it, or it would take memory out of proportion to its
            size.
    """
    open_file(path).close()
    try:
        _check_memory(named_path(path))
        return keras.saving.load_model(named_path(path))
    except Exception as error:  # Keras, zipfile, json and h5py raise many types for damaged files
        raise CifarZooError(
            f"{str(path)!r} cannot be loaded by Keras: {str(error) or type(error).__name__:.300}"
        ) from error


def _check_memory(path: Path) -> None:
    """Raise ValueError if the network in a file would take far more memory than the file has bytes."""
    from cifar_zoo.backend.abstract import without_memory  # imports Keras

    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            most = _MOST_EXPANSION * info.compress_size if info.filename == _WEIGHTS else LARGEST_TEXT
            if info.file_size > most:
                raise ValueError(f"{info.filename} in it unpacks to {info.file_size:,} bytes, and {most:,} are allowed")
        held = archive.getinfo(_WEIGHTS).file_size
        config = json.loads(archive.read("config.json"))
    model = None
    with contextlib.suppress(Exception):  # a layer that needs the values of its weights; loading tells what is wrong
        model = without_memory(lambda: keras.saving.deserialize_keras_object({**config, "compile_config": None}))
    if not isinstance(model, keras.Model):
        return
    if (needed := model.count_params()) > held:  # each takes a byte or more
        raise ValueError(f"its network has {needed:,} weights, and {_WEIGHTS} in it has only {held:,} bytes")
    for name, shape in _outputs(model):
        if (values := math.prod(side or 1 for side in shape)) > _MOST_VALUES:
            raise ValueError(f"its layer {name} has {values:,} values for one image, and {_MOST_VALUES:,} are allowed")


def _outputs(model: keras.Model) -> Iterator[tuple[str, tuple[int | None, ...]]]:
    """Yield the name of each layer, inputs and inner networks included, with the shape of its output for one image."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _outputs(layer)
        with contextlib.suppress(AttributeError, ValueError):  # a layer that is called several times
            for output in keras.tree.flatten(layer.output):
                yield layer.name, output.shape[1:]
