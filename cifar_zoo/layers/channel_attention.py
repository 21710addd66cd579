"""Channel attention of CBAM (Woo et al. 2018, arXiv:1807.06521)."""

import keras
from keras import ops

from cifar_zoo.checks import integer


@keras.saving.register_keras_serializable(package="cifar_zoo")
class ChannelAttention(keras.layers.Layer):
    """Reweights the channels of a feature map by gates computed from their spatial means and maxima.

    Computes `inputs * sigmoid(mlp(mean) + mlp(max))`, where the same two dense layers process the means and the maxima.

    Args:
        ratio: Integer. Reduction ratio: the hidden layer has `channels // ratio` units.

    Call arguments:
        inputs: A tensor of shape (batch, height, width, channels).

    Returns:
        A tensor of the same shape and dtype as `inputs`.

    Raises:
        ValueError: If `ratio` is not a positive integer or exceeds the number of channels, or the inputs are not of
            rank 4.

    Reference:
        Woo, Park, Lee and Kweon, "CBAM: Convolutional Block Attention Module", ECCV 2018 (arXiv:1807.06521).

    Example:
        >>> import numpy as np
        >>> from cifar_zoo import layers
        >>> layer = layers.ChannelAttention(ratio=4)
        >>> tuple(layer(np.ones((2, 8, 8, 16))).shape), layer.count_params()
        ((2, 8, 8, 16), 148)
    """

    def __init__(self, ratio=16, **kwargs):
        super().__init__(**kwargs)
        self.ratio = integer("ratio", ratio)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def build(self, input_shape):
        channels = input_shape[-1]
        units = channels // self.ratio
        if units == 0:
            raise ValueError(f"ratio must be at most the number of channels, {channels}, not {self.ratio}")
        self.input_spec = keras.layers.InputSpec(ndim=4, axes={-1: channels})
        options = {"kernel_initializer": "he_normal", "dtype": self.dtype_policy}
        self.reduce = keras.layers.Dense(units, "relu", name=f"{self.name}_reduce", **options)
        self.reduce.build((None, 2, channels))
        self.expand = keras.layers.Dense(channels, name=f"{self.name}_expand", **options)
        self.expand.build((None, 2, units))

    def call(self, inputs):
        pooled = ops.stack([ops.mean(inputs, axis=(1, 2)), ops.max(inputs, axis=(1, 2))], axis=1)
        gates = ops.sigmoid(ops.sum(self.expand(self.reduce(pooled)), axis=1))
        return inputs * gates[:, None, None, :]

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "ratio": self.ratio}
