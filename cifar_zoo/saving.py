"""Loading whole models that hold layers of the zoo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras


def load_model(path: str | Path, **options: Any) -> keras.Model:
    """`keras.models.load_model` for a .keras file with layers, optimizers or schedules of the zoo.

    Args:
        path: the .keras file.
        options: those of `keras.models.load_model`.
    """
    return keras.models.load_model(path, **options)
