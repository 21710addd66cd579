"""The gradient of a function of one array, on each backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np


def value_and_gradient(function: Callable[[Any], tuple[Any, Any]], x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute a function and the gradient of a number that comes with it.

    Args:
        function: From a tensor to a pair: the number whose gradient is taken, a tensor of shape (), and another tensor.
        x: float32 array of any shape.

    Returns:
        The other tensor and the gradient, of the shape of `x`, as NumPy arrays.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        tensor = tf.convert_to_tensor(x)
        with tf.GradientTape() as tape:
            tape.watch(tensor)
            number, other = function(tensor)
        gradient = tape.gradient(number, tensor, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    elif backend == "jax":
        import jax

        gradient, other = jax.grad(function, has_aux=True)(x)
    else:
        import torch

        with torch.enable_grad():
            tensor = keras.ops.convert_to_tensor(x).detach().requires_grad_(True)
            number, other = function(tensor)
            (gradient,) = torch.autograd.grad(number, [tensor], materialize_grads=True)
    return keras.ops.convert_to_numpy(other), keras.ops.convert_to_numpy(gradient)
