"""Convolutions for cases in which a backend's own is slow."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from cifar_zoo.backend import Tensor
from cifar_zoo.backend.tensorflow_cpu import on_tensorflow_cpu
from cifar_zoo.lazy import keras


def conv(
    inputs: Tensor,
    kernel: Tensor,
    strides: Sequence[int],
    padding: str,
    data_format: str,
    dilation_rate: Sequence[int],
) -> Tensor:
    """Computes `keras.ops.conv` without the copies that Keras makes on PyTorch and TensorFlow.

    On PyTorch, Keras copies channels-last inputs to channels-first memory and back. With TensorFlow on a CPU, it
    rearranges the inputs of a dilated convolution into smaller images and back, which takes up to half as long again.
    """
    backend = keras.backend.backend()
    dilated = data_format == "channels_last" and max(dilation_rate) > max(strides) == 1
    if dilated and on_tensorflow_cpu() and _has_dilated_gradients(inputs.dtype):
        return _tensorflow_dilated_conv(inputs, kernel, padding, dilation_rate)
    if backend != "torch" or data_format != "channels_last":
        return keras.ops.conv(inputs, kernel, strides, padding, data_format, dilation_rate)
    planes = inputs.permute(0, 3, 1, 2)  # a view of channels-last memory, the layout in which PyTorch is fastest
    outputs = keras.ops.conv(planes, kernel, strides, padding, "channels_first", dilation_rate)
    return outputs.permute(0, 2, 3, 1)


def add_bias(outputs: Tensor, bias: Tensor | None, data_format: str) -> Tensor:
    """Adds a bias of shape (filters,), or None, to a feature map.

    `keras.ops.add` would become TensorFlow's BiasAdd, whose gradient is summed in bfloat16 on a CPU and inaccurate.
    """
    if bias is None:
        return outputs
    return outputs + keras.ops.reshape(bias, -1 if data_format == "channels_last" else (-1, 1, 1))


@functools.cache
def _has_dilated_gradients(dtype: Any) -> bool:
    """Returns whether TensorFlow computes the gradients of a dilated convolution, as it does with oneDNN.

    oneDNN has bfloat16 only on CPUs with instructions for it.
    """
    import tensorflow as tf

    with tf.init_scope():  # at once, also while a graph is traced
        images, kernel = tf.ones([1, 3, 3, 1], dtype), tf.ones([2, 2, 1, 1], dtype)
        options = {"strides": [1] * 4, "padding": "SAME", "dilations": [1, 2, 2, 1]}
        try:
            tf.raw_ops.Conv2DBackpropInput(input_sizes=images.shape, filter=kernel, out_backprop=images, **options)
            tf.raw_ops.Conv2DBackpropFilter(input=images, filter_sizes=kernel.shape, out_backprop=images, **options)
        except tf.errors.OpError:
            return False
        return True


def _tensorflow_dilated_conv(inputs: Tensor, kernel: Tensor, padding: str, dilation_rate: Sequence[int]) -> Tensor:
    import tensorflow as tf

    kernel = keras.ops.cast(kernel, inputs.dtype)
    return tf.nn.conv2d(inputs, kernel, 1, padding.upper(), dilations=list(dilation_rate))


def grouped_conv_is_fast() -> bool:
    """Returns whether the backend's own grouped convolution is fast on the hardware of this process."""
    return not (on_tensorflow_cpu() or on_jax_cpu())


def on_jax_cpu() -> bool:
    """Returns whether the backend is JAX and it computes on a CPU."""
    if keras.backend.backend() != "jax":
        return False
    import jax

    return jax.default_backend() == "cpu"


def padding_before_and_after(
    inputs: Tensor, kernel_shape: Sequence[int], stride: int, padding: str
) -> list[tuple[int, int]]:
    """Returns the padding of the rows and of the columns of a convolution, each before and after.

    Args:
        inputs: Tensor of shape (batch, rows, columns, channels) with known rows and columns.
        kernel_shape: Shape of the kernel, which begins with height and width.
        stride: Stride of both axes.
        padding: "same" or "valid".
    """
    if padding == "valid":
        return [(0, 0), (0, 0)]
    totals = [
        max((-(-length // stride) - 1) * stride + size - length, 0)
        for length, size in zip(inputs.shape[1:3], kernel_shape[:2], strict=True)
    ]
    return [(total // 2, total - total // 2) for total in totals]


def kernel_gradient_by_products_is_fast(inputs: Tensor, kernel_shape: Sequence[int]) -> bool:
    """Returns whether `conv_with_product_gradient` is faster than the backend's own convolution at stride 1.

    The rule comes from measurements with TensorFlow in bfloat16 on a CPU with AMX, at a batch size of 128.

    Args:
        inputs: Tensor of shape (batch, rows, columns, channels).
        kernel_shape: Shape (height, width, channels, filters) of the kernel.

    Returns:
        A boolean, which is False for other backends, on a GPU and for other dtypes.
    """
    if not on_tensorflow_cpu() or inputs.dtype != "bfloat16":
        return False
    rows, columns = inputs.shape[1:3]
    if rows is None or columns is None:
        return False
    height, width, channels, filters = kernel_shape
    return height == width == 1 or 4 * rows * columns <= min(channels, filters)


def conv_with_product_gradient(inputs: Tensor, kernel: Tensor, bias: Tensor | None, padding: str) -> Tensor:
    """Computes TensorFlow's convolution at stride 1 plus a bias, with a kernel gradient made of matrix products.

    Args:
        inputs: Tensor of shape (batch, rows, columns, channels) with known rows and columns.
        kernel: Tensor or variable of shape (height, width, channels, filters).
        bias: Tensor or variable of shape (filters,), or None.
        padding: "same" or "valid".

    Returns:
        A tensor of shape (batch, new rows, new columns, filters) and the dtype of `inputs`.
    """
    import tensorflow as tf

    @tf.custom_gradient
    def convolve(inputs: Tensor, kernel: Tensor, *bias: Tensor) -> Tensor:
        def gradients(upstream: Tensor) -> Tensor:
            of_inputs = tf.raw_ops.Conv2DBackpropInput(
                input_sizes=tf.shape(inputs),
                filter=kernel,
                out_backprop=upstream,
                strides=[1] * 4,
                padding=padding.upper(),
            )
            # The gradient of `bias_add` itself is summed in bfloat16 on a CPU, which is inaccurate.
            of_bias = [tf.reduce_sum(upstream, axis=(0, 1, 2)) for _ in bias]
            return of_inputs, _kernel_gradient(inputs, upstream, kernel.shape, padding), *of_bias

        outputs = tf.nn.conv2d(inputs, kernel, 1, padding.upper())
        return (tf.nn.bias_add(outputs, *bias) if bias else outputs), gradients

    weights = [kernel] if bias is None else [kernel, bias]
    return convolve(inputs, *(keras.ops.cast(weight, inputs.dtype) for weight in weights))


def _kernel_gradient(inputs: Tensor, upstream: Tensor, shape: Sequence[int], padding: str) -> Tensor:
    """Computes the kernel gradient by one matrix product for each position in the kernel.

    The factors are the inputs under that position, (pixels, channels), transposed, and the upstream gradient.
    """
    import tensorflow as tf

    height, width, channels, filters = shape
    if padding == "same":
        inputs = tf.pad(inputs, [[0, 0], *padding_before_and_after(inputs, shape, 1, padding), [0, 0]])
    rows, columns = upstream.shape[1:3]
    upstream = tf.reshape(upstream, (-1, filters))
    positions = [(i, j) for i in range(height) for j in range(width)]
    seen = [tf.reshape(inputs[:, i : i + rows, j : j + columns], (-1, channels)) for i, j in positions]
    return tf.reshape(tf.stack([tf.matmul(pixels, upstream, transpose_a=True) for pixels in seen]), shape)
