"""Convolutional block attention module, CBAM (Woo et al. 2018, arXiv:1807.06521)."""

import keras

from cifar_zoo.checks import integer
from cifar_zoo.layers.channel_attention import ChannelAttention
from cifar_zoo.layers.spatial_attention import SpatialAttention


@keras.saving.register_keras_serializable(package="cifar_zoo")
class CBAM(keras.layers.Layer):
    """Reweights the channels and then the spatial positions of a feature map (convolutional block attention module).

    It applies `ChannelAttention`, then `SpatialAttention`.

    Args:
        ratio: Integer. Reduction ratio of the channel attention: its hidden layer has `channels // ratio` units.
        kernel_size: Integer. Height and width of the kernel of the spatial attention.

    Call arguments:
        inputs: A tensor of shape (batch, height, width, channels).

    Returns:
        A tensor of the same shape and dtype as `inputs`.

    Raises:
        ValueError: If `ratio` or `kernel_size` is not a positive integer, `ratio` exceeds the number of channels, or
            the inputs are not of rank 4.

    Reference:
        Woo, Park, Lee and Kweon, "CBAM: Convolutional Block Attention Module", ECCV 2018 (arXiv:1807.06521).

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
