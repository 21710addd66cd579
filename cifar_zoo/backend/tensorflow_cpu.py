"""TensorFlow on a CPU, where some operations are slow."""

from __future__ import annotations

import functools
from collections.abc import Callable

from cifar_zoo.backend import Tensor
from cifar_zoo.lazy import keras


def on_tensorflow_cpu() -> bool:
    """Whether TensorFlow is the backend and has no other devices than CPUs."""
    return keras.backend.backend() == "tensorflow" and _only_cpus()


@functools.cache
def _only_cpus() -> bool:
    import tensorflow as tf

    return all(device.device_type == "CPU" for device in tf.config.get_visible_devices())


@functools.cache
def compiled_elementwise(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """An elementwise function and its gradient, each compiled by XLA to one loop that computes in float32."""
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
