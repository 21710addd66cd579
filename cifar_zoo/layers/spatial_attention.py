"""The spatial attention of CBAM (Woo et al. 2018, arXiv:1807.06521)."""

import keras
from keras import ops

from cifar_zoo.layers.checks import integer


@keras.saving.register_keras_serializable(package="cifar_zoo")
class SpatialAttention(keras.layers.Layer):
    """Weigh the places of each image by gates that see the mean and the maximum of the channels (Woo et al. 2018).

    `inputs * sigmoid(convolution([mean, max]))`, with the mean and the maximum over the channels as two channels.

    Args:
        kernel_size: positive integer. Side of the kernel of the convolution.

    Call arguments:
        inputs: a tensor (batch, height, width, channels).

    Returns: a tensor of the same shape and dtype.

    Raises:
        ValueError: for a kernel size that is not a positive integer, or inputs of another rank.

    Example:
        >>> import numpy as np
        >>> from cifar_zoo import layers
        >>> layer = layers.SpatialAttention(kernel_size=7)
        >>> tuple(layer(np.ones((2, 8, 8, 16))).shape), layer.count_params()
        ((2, 8, 8, 16), 99)
    """

    def __init__(self, kernel_size=7, **kwargs):
        super().__init__(**kwargs)
        self.kernel_size = integer("kernel_size", kernel_size)
        self.input_spec = keras.layers.InputSpec(ndim=4)
        self.convolution = keras.layers.Conv2D(
            1,
            self.kernel_size,
            padding="same",
            activation="sigmoid",
            kernel_initializer="he_normal",
            data_format="channels_last",
            name=f"{self.name}_convolution",
            dtype=self.dtype_policy,
        )

    def build(self, input_shape):
        self.convolution.build((*input_shape[:-1], 2))

    def call(self, inputs):
        pooled = [ops.mean(inputs, axis=-1, keepdims=True), ops.max(inputs, axis=-1, keepdims=True)]
        return inputs * self.convolution(ops.concatenate(pooled, axis=-1))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "kernel_size": self.kernel_size}
