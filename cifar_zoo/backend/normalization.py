"""Fused batch normalization of TensorFlow and PyTorch for channels-last feature maps.

Both kernels divide the variance of a batch by count - 1, whereas Keras divides by the count; `normalize_by_batch`
returns the variance as Keras defines it.
"""

from __future__ import annotations

import math

from cifar_zoo.backend import Tensor
from cifar_zoo.backend.tensorflow_cpu import on_tensorflow_cpu
from cifar_zoo.lazy import keras

ONEDNN_BLOCK = 16  # channels that oneDNN computes at once with AVX512


def has_batch_kernel(inputs: Tensor) -> bool:
    """Returns whether `normalize_by_batch` supports these inputs (batch, height, width, channels) on this backend."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        return keras.backend.standardize_dtype(inputs.dtype) != "float64"
    return backend == "torch" and math.prod(inputs.shape[:3]) > 1  # PyTorch refuses a single value per channel


def has_moving_kernel() -> bool:
    """Returns whether `normalize_by_moving` is supported. On TensorFlow, Keras' own inference is as fast."""
    return keras.backend.backend() == "torch"


def normalize_by_batch(
    inputs: Tensor, gamma: Tensor | None, beta: Tensor | None, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalizes a feature map by the statistics of the batch.

    Args:
        inputs: Tensor of shape (batch, height, width, channels).
        gamma: Scale of shape (channels,), or None for 1.
        beta: Offset of shape (channels,), or None for 0.
        epsilon: Positive number, added to the variance.

    Returns:
        A tuple of the normalized tensor in the dtype of `inputs`, and the mean and the variance of the batch, each of
        shape (channels,).
    """
    if keras.backend.backend() == "tensorflow":
        outputs, mean, variance, count = _tensorflow_batch(inputs, gamma, beta, epsilon)
    else:
        # With a momentum of 1, PyTorch overwrites these with the statistics of the batch.
        mean, variance = (keras.ops.zeros(inputs.shape[-1:], _statistics_dtype(inputs)) for _ in range(2))
        outputs = _torch_batch_norm(inputs, mean, variance, gamma, beta, epsilon, training=True)
        count = inputs.numel() // inputs.shape[-1]
    return outputs, mean, variance * (count - 1) / count


def normalize_by_moving(
    inputs: Tensor, mean: Tensor, variance: Tensor, gamma: Tensor | None, beta: Tensor | None, epsilon: float
) -> Tensor:
    """Normalizes a feature map by given statistics.

    Args:
        inputs: Tensor of shape (batch, height, width, channels).
        mean: Mean of shape (channels,).
        variance: Variance of shape (channels,).
        gamma: Scale of shape (channels,), or None for 1.
        beta: Offset of shape (channels,), or None for 0.
        epsilon: Positive number, added to the variance.

    Returns:
        The normalized tensor in the dtype of `inputs`.
    """
    mean, variance = (keras.ops.cast(value, _statistics_dtype(inputs)) for value in (mean, variance))
    return _torch_batch_norm(inputs, mean, variance, gamma, beta, epsilon, training=False)


def _statistics_dtype(inputs: Tensor) -> str:
    return "float64" if keras.backend.standardize_dtype(inputs.dtype) == "float64" else "float32"


def _tensorflow_batch(
    inputs: Tensor, gamma: Tensor | None, beta: Tensor | None, epsilon: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    import tensorflow as tf

    channels, nothing = inputs.shape[-1], tf.zeros([0])
    scale = tf.ones([channels]) if gamma is None else tf.cast(keras.ops.convert_to_tensor(gamma), tf.float32)
    offset = tf.zeros([channels]) if beta is None else tf.cast(keras.ops.convert_to_tensor(beta), tf.float32)
    count = tf.cast(tf.size(inputs) / channels, tf.float32)
    # In bfloat16 oneDNN normalizes whole blocks of channels three to ten times as fast as others.
    missing = -channels % ONEDNN_BLOCK if inputs.dtype == "bfloat16" and on_tensorflow_cpu() else 0
    if missing:
        inputs = tf.pad(inputs, [[0, 0], [0, 0], [0, 0], [0, missing]])
        scale, offset = tf.pad(scale, [[0, missing]]), tf.pad(offset, [[0, missing]])
    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=inputs, scale=scale, offset=offset, mean=nothing, variance=nothing, epsilon=epsilon, is_training=True
    )
    if missing:  # not by indexing, whose gradient is slow
        outputs = tf.slice(outputs, [0, 0, 0, 0], [-1, -1, -1, channels])
        mean, variance = mean[:channels], variance[:channels]
    return outputs, mean, variance, count


def _torch_batch_norm(
    inputs: Tensor,
    mean: Tensor,
    variance: Tensor,
    gamma: Tensor | None,
    beta: Tensor | None,
    epsilon: float,
    training: bool,
) -> Tensor:
    import torch

    dtype = _statistics_dtype(inputs)
    outputs = torch.nn.functional.batch_norm(
        inputs.permute(0, 3, 1, 2),  # a view
        mean,
        variance,
        None if gamma is None else keras.ops.cast(gamma, dtype),
        None if beta is None else keras.ops.cast(beta, dtype),
        training=training,
        momentum=1.0,
        eps=epsilon,
    )
    return outputs.permute(0, 2, 3, 1)
