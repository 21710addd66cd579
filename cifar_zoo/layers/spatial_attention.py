"""Spatial attention of CBAM (Woo et al. 2018, arXiv:1807.06521)."""

import keras
from keras import ops

from cifar_zoo.checks import integer


@keras.saving.register_keras_serializable(package="cifar_zoo")
class SpatialAttention(keras.layers.Layer):
    """Reweights the spatial positions of a feature map by gates computed from the mean and maximum over the channels.

    Computes `inputs * sigmoid(conv([mean, max]))`, where the mean and the maximum are the two input channels of the
    convolution.

    Args:
        kernel_size: Integer. Height and width of the kernel of the convolution.

    Call arguments:
        inputs: A tensor of shape (batch, height, width, channels).

    Returns:
        A tensor of the same shape and dtype as `inputs`.

    Raises:
        ValueError: If `kernel_size` is not a positive integer, or the inputs are not of rank 4.

    Reference:
        Woo, Park, Lee and Kweon, "CBAM: Convolutional Block Attention Module", ECCV 2018 (arXiv:1807.06521).

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
