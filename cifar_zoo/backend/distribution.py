"""Several devices: what `keras.distribution` and its relatives on other backends can do, and what they cannot."""

from __future__ import annotations

import os
import sys
from typing import Any

import keras
import numpy as np

from cifar_zoo.errors import CifarZooError


def data_parallel_devices() -> int:
    """The number of devices that share a batch by `keras.distribution.DataParallel`; 1 without it."""
    distribution = keras.distribution.distribution()
    return 1 if distribution is None else int(np.prod(distribution.device_mesh.shape))


def check_distribution(batch_size: int) -> None:
    """Raise CifarZooError if a training cannot be distributed in the way that was asked for.

    Args:
        batch_size: Integer. Number of images in a step, over all devices.
    """
    backend = keras.backend.backend()
    advice = "use the JAX backend and keras.distribution.DataParallel, in one process for all devices"
    if backend == "tensorflow" and _tensorflow_strategy():
        raise CifarZooError(f"fit_cifar10 does not train under tf.distribute.{_tensorflow_strategy()}; {advice}")
    if backend == "torch" and int(os.environ.get("WORLD_SIZE", "1") or 1) > 1:
        raise CifarZooError(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']}, as set by torchrun, and Keras does not train in several "
            f"processes of PyTorch; {advice}"
        )
    if backend == "jax":
        import jax

        if jax.process_count() > 1:
            raise CifarZooError(f"{jax.process_count()} processes of JAX are not supported; {advice}")
    distribution = keras.distribution.distribution()
    if distribution is None:
        return
    if backend != "jax" or not isinstance(distribution, keras.distribution.DataParallel):
        raise CifarZooError(f"fit_cifar10 does not train with {type(distribution).__name__} on {backend}; {advice}")
    devices = data_parallel_devices()
    if batch_size % devices:
        raise CifarZooError(
            f"batch_size must be a multiple of the {devices} devices that share a batch, not {batch_size}; "
            f"{max(batch_size // devices, 1) * devices} would be"
        )


def distribute_data() -> int:
    """Let all devices of this process share each batch from now on, and return how many there are.

    Raises:
        CifarZooError: If the backend is not JAX, which alone trains on several devices.
    """
    if keras.backend.backend() != "jax":
        raise CifarZooError(
            f"only the JAX backend trains on several devices, not {keras.backend.backend()}; set KERAS_BACKEND=jax"
        )
    keras.distribution.set_distribution(keras.distribution.DataParallel())
    return data_parallel_devices()


def predict(model: keras.Model, x: np.ndarray, batch_size: int) -> Any:
    """`model.predict` for any number of images, also where several devices share a batch.

    JAX divides a batch evenly among the devices. The last image is repeated until that is possible, and the outputs of
    the repetitions are dropped.

    Args:
        model: `keras.Model`.
        x: Array (n, ...).
        batch_size: Integer. Images a step, which is rounded up to a multiple of the devices.

    Returns: The outputs of the model (n, ...): an array, or a list of them.
    """
    devices = data_parallel_devices()
    if devices == 1:
        return model.predict(x, batch_size=batch_size, verbose=0)
    missing = -len(x) % devices
    padded = np.concatenate([x, np.repeat(x[-1:], missing, axis=0)])
    outputs = model.predict(padded, batch_size=-(-batch_size // devices) * devices, verbose=0)
    return [part[: len(x)] for part in outputs] if isinstance(outputs, list) else outputs[: len(x)]


def _tensorflow_strategy() -> str | None:
    """The name of the strategy of TensorFlow in whose scope this is called, or None."""
    if "tensorflow" not in sys.modules:
        return None
    import tensorflow as tf

    return type(tf.distribute.get_strategy()).__name__ if tf.distribute.has_strategy() else None
