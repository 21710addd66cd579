"""Convolution that is fast on PyTorch and learns fast on TensorFlow's CPU too."""

import keras

from cifar_zoo.backend import convolution
from cifar_zoo.layers.checks import integer, sides


@keras.saving.register_keras_serializable(package="cifar_zoo")
class Conv2D(keras.layers.Conv2D):
    """Keras' convolution; in bfloat16 on TensorFlow's CPU the kernel's gradient is made of matrix products.

    Where images have become small and channels many, TensorFlow's own takes up to seven times as long: together a
    fifth of the training step of a ResNet-18. On PyTorch Keras copies the inputs twice, into another order and back;
    here they stay as they are. The result, the gradients and the weights are the same.

    Args:
        filters: number of output channels.
        kernel_size: integer, or two for height and width.
        strides: integer, or two for height and width.
        padding: "same" or "valid".
        data_format: "channels_last" or "channels_first"; the global setting of Keras has no influence.
        dilation_rate: integer, or two for height and width.
        groups: number of groups, see `GroupedConv2D`.
        **kwargs: the others of `keras.layers.Conv2D`.

    Call arguments:
        inputs: a tensor (batch, height, width, channels).

    Returns: a tensor (batch, new height, new width, filters) of the same dtype.

    Raises:
        ValueError: for sizes that are not positive integers, or inputs of another rank.

    Example:
        >>> import numpy as np
        >>> from cifar_zoo import layers
        >>> tuple(layers.Conv2D(16, 3, padding="same")(np.ones((2, 8, 8, 4))).shape)
        (2, 8, 8, 16)
    """

    def __init__(
        self,
        filters,
        kernel_size,
        strides=1,
        padding="valid",
        data_format="channels_last",
        dilation_rate=1,
        groups=1,
        **kwargs,
    ):
        super().__init__(
            integer("filters", filters, at_least=None),
            sides("kernel_size", kernel_size),
            strides=sides("strides", strides),
            padding=padding,
            data_format=data_format,
            dilation_rate=sides("dilation_rate", dilation_rate),
            groups=integer("groups", groups, at_least=None),
            **kwargs,
        )
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def build(self, input_shape):
        super().build(input_shape)
        self.input_spec = keras.layers.InputSpec(ndim=4, axes=self.input_spec.axes)

    def convolution_op(self, inputs, kernel):
        return convolution.conv(inputs, kernel, self.strides, self.padding, self.data_format, self.dilation_rate)

    def call(self, inputs):
        plain = self.strides == self.dilation_rate == (1, 1) and self.groups == 1
        plain = plain and self.data_format == "channels_last"
        if not plain or not convolution.kernel_gradient_by_products_is_fast(inputs, self.kernel.shape):
            return super().call(inputs)
        bias = self.bias if self.use_bias else None
        outputs = convolution.conv_with_product_gradient(inputs, self.kernel, bias, self.padding)
        return outputs if self.activation is None else self.activation(outputs)
