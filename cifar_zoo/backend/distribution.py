"""Several devices: what `keras.distribution` and its relatives on other backends can do, and what they cannot."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from cifar_zoo.backend.processes import process_count, process_index
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
    advice = "use the JAX backend and keras.distribution.DataParallel"
    if backend == "tensorflow" and _tensorflow_strategy():
        raise CifarZooError(f"fit_cifar10 does not train under tf.distribute.{_tensorflow_strategy()}; {advice}")
    if backend == "torch" and int(os.environ.get("WORLD_SIZE", "1") or 1) > 1:
        raise CifarZooError(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']}, as set by torchrun, and Keras does not train in several "
            f"processes of PyTorch; {advice}"
        )
    distribution = keras.distribution.distribution()
    if distribution is None:
        if process_count() > 1:
            raise CifarZooError(f"{process_count()} processes of JAX do not share a batch yet; {advice}")
        return
    if backend != "jax" or not isinstance(distribution, keras.distribution.DataParallel):
        raise CifarZooError(f"fit_cifar10 does not train with {type(distribution).__name__} on {backend}; {advice}")
    if process_count() > 1 and distribution.auto_shard_dataset:
        raise CifarZooError("with several processes, use keras.distribution.DataParallel(auto_shard_dataset=False)")
    if process_count() > 1 and not _equal_parts(distribution):
        raise CifarZooError(
            f"the {process_count()} processes of JAX must have the same number of devices in the distribution, those "
            "of one process after those of the other"
        )
    devices = data_parallel_devices()
    if batch_size % devices:
        raise CifarZooError(
            f"batch_size must be a multiple of the {devices} devices that share a batch, not {batch_size}; "
            f"{max(batch_size // devices, 1) * devices} would be"
        )


def _equal_parts(distribution: keras.distribution.DataParallel) -> bool:
    """Whether each process has an equal part of the devices, in the order of the processes."""
    owners = [device.process_index for device in distribution.device_mesh.backend_mesh.devices.flat]
    each, rest = divmod(len(owners), process_count())
    return not rest and owners == sorted(list(range(process_count())) * each)


def distribute_data() -> int:
    """Let all devices of all processes share each batch from now on, and return how many there are.

    Raises:
        CifarZooError: If the backend is not JAX, which alone trains on several devices.
    """
    if keras.backend.backend() != "jax":
        raise CifarZooError(
            f"only the JAX backend trains on several devices, not {keras.backend.backend()}; set KERAS_BACKEND=jax"
        )
    # Each process is handed its own rows of the batches, which Keras would otherwise ask to choose itself.
    keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))
    return data_parallel_devices()


def clear_session() -> None:
    """Call `keras.backend.clear_session`, but keep the distribution, which it would forget."""
    distribution = keras.distribution.distribution()
    keras.backend.clear_session()
    if distribution is not None:
        keras.distribution.set_distribution(distribution)


def own_rows(batch_size: int) -> slice:
    """The rows of a batch, of a size that all devices can share, which this process hands to its devices."""
    rows = batch_size // process_count()
    return slice(process_index() * rows, (process_index() + 1) * rows)


@contextlib.contextmanager
def outputs_everywhere(model: keras.Model) -> Iterator[None]:
    """Let `model.predict` return the outputs for the rows of all processes, where it would fail otherwise.

    Each process must give it its own rows of each batch.
    """
    if process_count() == 1:
        yield
        return
    import jax

    mesh = keras.distribution.distribution().device_mesh.backend_mesh
    replicated = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    step = model.predict_step

    def predict_step(state: Any, data: Any) -> Any:
        outputs, state = step(state, data)
        return jax.lax.with_sharding_constraint(outputs, replicated), state

    model.predict_step = predict_step
    try:
        yield
    finally:
        del model.predict_step


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
    batch_size = -(-batch_size // devices) * devices
    if process_count() > 1:
        starts = range(0, len(padded), batch_size)
        batches = (padded[start : start + batch_size] for start in starts)
        padded = np.concatenate([batch[own_rows(len(batch))] for batch in batches])
    with outputs_everywhere(model):
        outputs = model.predict(padded, batch_size=batch_size // process_count(), verbose=0)
    return [part[: len(x)] for part in outputs] if isinstance(outputs, list) else outputs[: len(x)]


def _tensorflow_strategy() -> str | None:
    """The name of the strategy of TensorFlow in whose scope this is called, or None."""
    if "tensorflow" not in sys.modules:
        return None
    import tensorflow as tf

    return type(tf.distribute.get_strategy()).__name__ if tf.distribute.has_strategy() else None
