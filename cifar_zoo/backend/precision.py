"""Choice of the dtype policy of a training run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import keras

from cifar_zoo.backend.environment import cpuinfo

PRECISIONS = ("float32", "mixed_bfloat16")


@contextmanager
def float32_by_default() -> Iterator[None]:
    """Make float32 the default of Keras within this context, whatever its global dtype policy and floatx are.

    Weights and metrics are float32 then. In float16 a metric could not count beyond 2,048 images.
    """
    policy, floatx = keras.config.dtype_policy(), keras.config.floatx()
    try:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")
        yield
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(policy)


def hardware_precision() -> str:
    """Returns the dtype policy that suits the hardware of this process.

    Returns:
        "mixed_bfloat16" on a GPU of compute capability 8 or higher, a TPU, or a CPU with AVX512_BF16 or AMX, else
        "float32". Also "float32" with JAX on a CPU, which computes bfloat16 through float32 and is no faster.
    """
    return "mixed_bfloat16" if _has_bfloat16() else "float32"


def _has_bfloat16() -> bool:
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        device = jax.devices()[0]
        return device.platform == "tpu" or float(getattr(device, "compute_capability", 0)) >= 8
    if backend == "torch":
        import torch

        if torch.cuda.is_available():
            return torch.cuda.is_bf16_supported(including_emulation=False)
    if backend == "tensorflow":
        import tensorflow as tf

        if gpus := tf.config.list_physical_devices("GPU"):
            return tf.config.experimental.get_device_details(gpus[0]).get("compute_capability", (0, 0)) >= (8, 0)
    return "avx512_bf16" in cpuinfo()
