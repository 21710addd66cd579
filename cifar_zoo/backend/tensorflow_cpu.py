"""Where TensorFlow's own way is slow on a CPU."""

import functools

import keras


def on_tensorflow_cpu():
    """Whether TensorFlow computes, and sees no other device than CPUs."""
    return keras.backend.backend() == "tensorflow" and _only_cpus()


@functools.cache
def _only_cpus():
    import tensorflow as tf

    return all(device.device_type == "CPU" for device in tf.config.get_visible_devices())
