"""Gradients that are not computed."""

from __future__ import annotations

from cifar_zoo.backend import Tensor
from cifar_zoo.lazy import keras


def without_gradient(variable: Tensor) -> Tensor:
    """Returns the value of a trainable variable, with a gradient of zeros that costs nothing.

    With `keras.ops.stop_gradient` the gradient would be missing, which makes Keras warn on TensorFlow and raises an
    error on PyTorch. On PyTorch the gradient is computed as usual.

    Args:
        variable: Trainable variable.

    Returns:
        A tensor of the same shape and dtype.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        zero = tf.custom_gradient(lambda value: (tf.identity(value), tf.zeros_like))
        return zero(tf.convert_to_tensor(variable))
    return keras.ops.stop_gradient(variable) if backend == "jax" else keras.ops.convert_to_tensor(variable)
