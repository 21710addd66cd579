"""The number format of a training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import keras

from cifar_zoo.layers.parts import parts

PRECISIONS = ("float32", "mixed_bfloat16")


def hardware_precision() -> str:
    """The precision for this hardware: mixed_bfloat16 on a GPU of compute capability 8, a TPU or AMX, else float32."""
    return "mixed_bfloat16" if _has_bfloat16() else "float32"


def _has_bfloat16() -> bool:
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        device = jax.devices()[0]
        if device.platform != "cpu":
            return device.platform == "tpu" or float(getattr(device, "compute_capability", 0)) >= 8
    if backend == "torch":
        import torch

        if torch.cuda.is_available():
            return torch.cuda.is_bf16_supported(including_emulation=False)
    if backend == "tensorflow":
        import tensorflow as tf

        if gpus := tf.config.list_physical_devices("GPU"):
            return tf.config.experimental.get_device_details(gpus[0]).get("compute_capability", (0, 0)) >= (8, 0)
    flags = Path("/proc/cpuinfo")
    return flags.exists() and "amx_bf16" in flags.read_text()


@contextmanager
def computing_in(model: keras.Model, precision: str) -> Iterator[None]:
    """Let the inner layers of a network compute in another precision for a while.

    What comes before the first layer with weights (preprocessing) stays as it is, and so do the classifier (by its
    name, and the last layer with weights in any case) and what comes after it. The weights are float32 in either case.
    """
    layers = flat_layers(model)
    weighted = [i for i, layer in enumerate(layers) if layer.weights]
    between = layers[weighted[0] : weighted[-1]] if weighted else []
    inner = [layer for layer in between if not layer.name.startswith("classifier")]
    before = [layer.dtype_policy for layer in inner]
    for layer in inner:
        layer.dtype_policy = precision
    try:
        yield
    finally:
        for layer, policy in zip(inner, before, strict=True):
            layer.dtype_policy = policy


def flat_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """The layers of a network in order, those inside of models and of other layers among them."""
    flat: list[keras.layers.Layer] = []
    for layer in model.layers:
        flat += flat_layers(layer) if isinstance(layer, keras.Model) else [layer, *parts(layer)]
    return flat
