"""The convolutional block attention module (Woo et al. 2018, arXiv:1807.06521)."""

import keras

from cifar_zoo.layers.channel_attention import ChannelAttention
from cifar_zoo.layers.checks import integer
from cifar_zoo.layers.spatial_attention import SpatialAttention


@keras.saving.register_keras_serializable(package="cifar_zoo")
class CBAM(keras.layers.Layer):
    """Weigh the channels of each image, then its places: `ChannelAttention`, `SpatialAttention` (Woo et al. 2018).

    Args:
        ratio: positive integer. The hidden layer of the channel attention has `channels // ratio` units.
        kernel_size: positive integer. Side of the kernel of the spatial attention.

    Call arguments:
        inputs: a tensor (batch, height, width, channels).

    Returns: a tensor of the same shape and dtype.

    Raises:
        ValueError: for a ratio or kernel size that is not a positive integer, a ratio that leaves no unit, or inputs
            of another rank.

    Example:
        >>> import numpy as np
        >>> from cifar_zoo import layers
        >>> layer = layers.CBAM(ratio=4)
        >>> tuple(layer(np.ones((2, 8, 8, 16))).shape), layer.count_params()
        ((2, 8, 8, 16), 247)
    """

    def __init__(self, ratio=16, kernel_size=7, **kwargs):
        super().__init__(**kwargs)
        self.ratio = integer("ratio", ratio)
        self.kernel_size = integer("kernel_size", kernel_size)
        self.input_spec = keras.layers.InputSpec(ndim=4)
        self.channel = ChannelAttention(self.ratio, name=f"{self.name}_channel", dtype=self.dtype_policy)
        self.spatial = SpatialAttention(self.kernel_size, name=f"{self.name}_spatial", dtype=self.dtype_policy)

    def build(self, input_shape):
        self.channel.build(input_shape)
        self.spatial.build(input_shape)

    def call(self, inputs):
        return self.spatial(self.channel(inputs))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "ratio": self.ratio, "kernel_size": self.kernel_size}
