"""Loading whole models that hold layers of the zoo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

from cifar_zoo import layers
from cifar_zoo.training import optimizers, schedules  # noqa: F401


def load_model(path: str | Path, **options: Any) -> keras.Model:
    """`keras.models.load_model` for a .keras file with layers, optimizers or schedules of the zoo.

    Keras finds a class only after the file that defines it has run, and cifar_zoo runs its files when they are needed;
    this runs them all.

    Args:
        path: the .keras file.
        options: those of `keras.models.load_model`.
    """
    for name in layers.__all__:
        getattr(layers, name)
    return keras.models.load_model(path, **options)
