"""Depthwise convolutions for cases in which a backend's own is slow."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

from cifar_zoo.backend import Tensor
from cifar_zoo.backend.convolution import on_jax_cpu, padding_before_and_after
from cifar_zoo.backend.tensorflow_cpu import on_tensorflow_cpu
from cifar_zoo.lazy import keras


def depthwise_conv(
    inputs: Tensor,
    kernel: Tensor,
    strides: Sequence[int],
    padding: str,
    data_format: str,
    dilation_rate: Sequence[int],
) -> Tensor:
    """Computes `keras.ops.depthwise_conv` in the way that trains fastest on this backend and hardware.

    On a CPU with TensorFlow, oneDNN has no fast bfloat16 code for two of the gradients: that of the inputs at strides
    above 1, and that of kernels other than 3x3. PyTorch uses the same library, and in addition Keras copies
    channels-last inputs to channels-first memory and back. On a CPU with JAX, the forward pass takes thirty to sixty
    times as long as a sum of shifted products, and the gradients three to thirty times.
    """
    plain = data_format == "channels_last" and tuple(dilation_rate) == (1, 1) and strides[0] == strides[1]
    usual = tuple(kernel.shape[:2]) == (3, 3) and strides[0] == 1
    if keras.backend.backend() == "torch" and data_format == "channels_last":
        return _torch_depthwise_conv(inputs, kernel, strides, padding, dilation_rate, usual)
    if plain and not usual and on_tensorflow_cpu() and inputs.dtype == "bfloat16" and None not in inputs.shape[1:]:
        return _tensorflow_depthwise_conv(inputs, kernel, strides[0], padding)
    if plain and on_jax_cpu():
        return _jitted_sum_of_shifted_products()(inputs, keras.ops.convert_to_tensor(kernel), strides[0], padding)
    return keras.ops.depthwise_conv(inputs, kernel, strides, padding, data_format, dilation_rate)


@functools.cache
def _jitted_sum_of_shifted_products() -> Callable[..., Tensor]:
    """Compiles it as a whole. Outside of compiled steps, JAX would compile each of its operations."""
    import jax

    return jax.jit(_sum_of_shifted_products, static_argnums=(2, 3))


def _sum_of_shifted_products(inputs: Tensor, kernel: Tensor, stride: int, padding: str) -> Tensor:
    """Computes a depthwise convolution in JAX as one fused loop: a product for each position in the kernel.

    It is computed in float32, because sums in bfloat16 are slow and inaccurate on a CPU.
    """
    import jax.numpy as jnp

    dtype = inputs.dtype
    computed = "float32" if dtype.itemsize < 4 else dtype
    inputs, kernel = inputs.astype(computed), kernel.astype(computed)
    height, width, channels, multiplier = kernel.shape
    rows, columns = padding_before_and_after(inputs, kernel.shape, stride, padding)
    inputs = jnp.pad(inputs, ((0, 0), rows, columns, (0, 0)))
    if multiplier > 1:  # the outputs of an input channel are neighbours
        inputs = jnp.repeat(inputs, multiplier, axis=-1)
    kernel = kernel.reshape(height, width, channels * multiplier)
    last_row, last_column = inputs.shape[1] - height + 1, inputs.shape[2] - width + 1
    products = (
        inputs[:, i : i + last_row : stride, j : j + last_column : stride] * kernel[i, j]
        for i in range(height)
        for j in range(width)
    )
    return sum(products).astype(dtype)


def _torch_depthwise_conv(
    inputs: Tensor,
    kernel: Tensor,
    strides: Sequence[int],
    padding: str,
    dilation_rate: Sequence[int],
    usual: bool,
) -> Tensor:
    import torch

    dtype = inputs.dtype
    if not usual and dtype == torch.bfloat16 and inputs.device.type == "cpu" and torch.is_grad_enabled():
        inputs, kernel = inputs.float(), keras.ops.cast(kernel, "float32")
    planes = inputs.permute(0, 3, 1, 2)  # a view of channels-last memory, the layout in which PyTorch is fastest
    outputs = keras.ops.depthwise_conv(planes, kernel, strides, padding, "channels_first", dilation_rate)
    return outputs.permute(0, 2, 3, 1).to(dtype)


def _tensorflow_depthwise_conv(inputs: Tensor, kernel: Tensor, stride: int, padding: str) -> Tensor:
    """Computes TensorFlow's depthwise convolution in bfloat16 with fast gradients on a CPU."""
    import tensorflow as tf

    steps = [1, stride, stride, 1]

    @tf.custom_gradient
    def convolve(inputs: Tensor, kernel: Tensor) -> Tensor:
        def gradients(upstream: Tensor) -> tuple[Tensor, Tensor]:
            dtype = inputs.dtype if stride == 1 else tf.float32
            of_inputs = tf.raw_ops.DepthwiseConv2dNativeBackpropInput(
                input_sizes=tf.shape(inputs),
                filter=tf.cast(kernel, dtype),
                out_backprop=tf.cast(upstream, dtype),
                strides=steps,
                padding=padding.upper(),
            )
            of_kernel = _gradient_of_kernel_in_blocks(inputs, upstream, kernel.shape, stride, padding)
            return tf.cast(of_inputs, inputs.dtype), of_kernel

        return tf.nn.depthwise_conv2d(inputs, kernel, steps, padding.upper()), gradients

    return convolve(inputs, keras.ops.cast(kernel, inputs.dtype))


def _gradient_of_kernel_in_blocks(
    inputs: Tensor, upstream: Tensor, shape: Sequence[int], stride: int, padding: str
) -> Tensor:
    """Computes the gradient of a kernel (height, width, channels, multiplier) from 3x3 blocks that cover it.

    Each block is the gradient of a 3x3 convolution of shifted inputs. In bfloat16 the four blocks of a 5x5 kernel take
    about a quarter of the time of its own gradient.
    """
    import tensorflow as tf

    height, width, *channels = shape
    down, across = -(-height // 3), -(-width // 3)
    (top, bottom), (left, right) = padding_before_and_after(inputs, shape, stride, padding)
    bottom, right = bottom + 3 * down - height, right + 3 * across - width  # the last blocks reach beyond the kernel
    inputs = tf.pad(inputs, [[0, 0], [top, bottom], [left, right], [0, 0]])
    rows, columns = ((length - 1) * stride + 3 for length in upstream.shape[1:3])

    def block(i: int, j: int) -> Tensor:
        return tf.raw_ops.DepthwiseConv2dNativeBackpropFilter(
            input=inputs[:, 3 * i : 3 * i + rows, 3 * j : 3 * j + columns],
            filter_sizes=[3, 3, *channels],
            out_backprop=upstream,
            strides=[1, stride, stride, 1],
            padding="VALID",
        )

    blocks = [tf.concat([block(i, j) for j in range(across)], axis=1) for i in range(down)]
    return tf.concat(blocks, axis=0)[:height, :width]
