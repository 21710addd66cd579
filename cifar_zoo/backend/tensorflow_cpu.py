"""Fast paths for TensorFlow on a CPU, where some operations are slow."""

from __future__ import annotations

import functools
from collections.abc import Callable

from cifar_zoo.backend import Tensor
from cifar_zoo.lazy import keras


def on_tensorflow_cpu() -> bool:
    """Returns whether the backend is TensorFlow and only CPUs are visible to it."""
    return keras.backend.backend() == "tensorflow" and _only_cpus()


@functools.cache
def _only_cpus() -> bool:
    import tensorflow as tf

    return all(device.device_type == "CPU" for device in tf.config.get_visible_devices())


@functools.cache
def compiled_elementwise(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Compiles an elementwise function and its gradient with XLA, each to one loop that computes in float32.

    Args:
        function: Differentiable elementwise function of one tensor.

    Returns:
        A function with the same values that returns tensors in the dtype of its inputs.
    """
    import tensorflow as tf

    @tf.function(jit_compile=True, reduce_retracing=True)
    def forward(inputs: Tensor) -> Tensor:
        return tf.cast(function(tf.cast(inputs, tf.float32)), inputs.dtype)

    @tf.function(jit_compile=True, reduce_retracing=True)
    def backward(inputs: Tensor, upstream: Tensor) -> Tensor:
        inputs = tf.cast(inputs, tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = function(inputs)
        return tf.cast(tape.gradient(outputs, inputs, tf.cast(upstream, tf.float32)), upstream.dtype)

    @tf.custom_gradient
    def apply(inputs: Tensor) -> Tensor:
        return forward(inputs), lambda upstream: backward(inputs, upstream)

    return apply
