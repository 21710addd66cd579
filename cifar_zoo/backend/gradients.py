"""Gradients that need not be computed."""

from __future__ import annotations

from cifar_zoo.backend import Tensor
from cifar_zoo.lazy import keras


def without_gradient(variable: Tensor) -> Tensor:
    """The value of a trainable variable, with a gradient of zeros that costs nothing.

    A gradient that is only stopped would be missing, of which Keras warns on TensorFlow and which PyTorch refuses. On
    PyTorch the gradient is computed as usual.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        zero = tf.custom_gradient(lambda value: (tf.identity(value), tf.zeros_like))
        return zero(tf.convert_to_tensor(variable))
    return keras.ops.stop_gradient(variable) if backend == "jax" else keras.ops.convert_to_tensor(variable)
