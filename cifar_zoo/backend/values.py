"""Values of variables as NumPy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from cifar_zoo.lazy import keras


def to_numpy(value: Any) -> np.ndarray:
    """Returns the value of a variable or a tensor as an array.

    NumPy 2 warns when it reads a variable of TensorFlow itself, which ends a program whose warnings are errors. JAX
    computes nothing here, as one of several processes may read a variable alone.
    """
    if isinstance(value, keras.Variable):
        value = value.value if keras.backend.backend() == "jax" else keras.ops.copy(value)
    return keras.ops.convert_to_numpy(value)
