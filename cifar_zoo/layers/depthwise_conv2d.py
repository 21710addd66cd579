"""Depthwise 2D convolution that trains fast on a CPU with every backend."""

import keras

from cifar_zoo.backend.convolution import add_bias
from cifar_zoo.backend.depthwise import depthwise_conv
from cifar_zoo.checks import integer, sides


@keras.saving.register_keras_serializable(package="cifar_zoo")
class DepthwiseConv2D(keras.layers.DepthwiseConv2D):
    """Depthwise 2D convolution like Keras' own, but faster in training on a CPU.

    With TensorFlow in bfloat16 on a CPU, the gradients of 5x5 kernels and of strided convolutions are slow; this layer
    computes them from smaller kernels or in float32. With JAX on a CPU it sums shifted products, and on PyTorch it
    computes on channels-last memory as it is. The outputs, the gradients and the weights are the same.

    Args:
        kernel_size: Integer, or a pair of integers for height and width.
        strides: Integer, or a pair of integers for height and width.
        padding: String. "same" or "valid".
        depth_multiplier: Integer. Number of output channels of each input channel.
        data_format: String. "channels_last" or "channels_first". The global image data format of Keras is ignored.
        dilation_rate: Integer, or a pair of integers for height and width.
        **kwargs: Other arguments of `keras.layers.DepthwiseConv2D`.

    Call arguments:
        inputs: A tensor of shape (batch, height, width, channels).

    Returns:
        A tensor of shape (batch, new height, new width, channels * depth_multiplier) and the dtype of `inputs`.

    Raises:
        ValueError: If a size is not a positive integer, or the inputs are not of rank 4.

    Example:
        >>> import numpy as np
        >>> from cifar_zoo import layers
        >>> tuple(layers.DepthwiseConv2D(5, 2, "same")(np.ones((2, 8, 8, 4))).shape)
        (2, 4, 4, 4)
    """

    def __init__(
        self,
        kernel_size,
        strides=1,
        padding="valid",
        depth_multiplier=1,
        data_format="channels_last",
        dilation_rate=1,
        **kwargs,
    ):
        super().__init__(
            sides("kernel_size", kernel_size),
            strides=sides("strides", strides),
            padding=padding,
            depth_multiplier=integer("depth_multiplier", depth_multiplier),
            data_format=data_format,
            dilation_rate=sides("dilation_rate", dilation_rate),
            **kwargs,
        )
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def build(self, input_shape):
        super().build(input_shape)
        self.input_spec = keras.layers.InputSpec(ndim=4, axes=self.input_spec.axes)

    def call(self, inputs):
        outputs = depthwise_conv(inputs, self.kernel, self.strides, self.padding, self.data_format, self.dilation_rate)
        outputs = add_bias(outputs, self.bias if self.use_bias else None, self.data_format)
        return outputs if self.activation is None else self.activation(outputs)
