"""Pooling for cases in which a backend's own is slow."""

from __future__ import annotations

from collections.abc import Sequence

from cifar_zoo.backend import Tensor
from cifar_zoo.lazy import keras


def max_pool(
    inputs: Tensor, pool_size: Sequence[int], strides: Sequence[int], padding: str, data_format: str
) -> Tensor:
    """Computes `keras.ops.max_pool`, on PyTorch without copying channels-last inputs to channels-first memory."""
    if keras.backend.backend() != "torch" or data_format != "channels_last":
        return keras.ops.max_pool(inputs, pool_size, strides, padding, data_format)
    planes = inputs.permute(0, 3, 1, 2)  # a view
    return keras.ops.max_pool(planes, pool_size, strides, padding, "channels_first").permute(0, 2, 3, 1)
