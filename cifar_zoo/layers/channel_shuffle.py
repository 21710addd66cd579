"""The channel shuffle of ShuffleNet (Zhang et al. 2017, arXiv:1707.01083)."""

import keras
from keras import ops

from cifar_zoo.layers.checks import integer


@keras.saving.register_keras_serializable(package="cifar_zoo")
class ChannelShuffle(keras.layers.Layer):
    """Interleave groups of channels: the first of each group, then the second of each, and so on (Zhang et al. 2017).

    Args:
        groups: number of groups of neighboring channels; it must divide the channels.

    Call arguments:
        inputs: a tensor (batch, height, width, channels).

    Returns: a tensor of the same shape and dtype.

    Raises:
        ValueError: for groups that are not a positive integer, that do not divide the channels, or inputs of another
            rank.

    Example:
        >>> import numpy as np
        >>> from cifar_zoo import layers
        >>> channels = np.arange(6.0).reshape(1, 1, 1, 6)
        >>> [int(channel) for channel in layers.ChannelShuffle(groups=2)(channels)[0, 0, 0]]
        [0, 3, 1, 4, 2, 5]
    """

    def __init__(self, groups=2, **kwargs):
        super().__init__(**kwargs)
        self.groups = integer("groups", groups)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def build(self, input_shape):
        if input_shape[-1] % self.groups:
            raise ValueError(f"{input_shape[-1]} channels do not make groups={self.groups} of the same size")

    def call(self, inputs):
        height, width, channels = inputs.shape[1:]
        # Only the batch may be unknown, so that no reshape can ever move a value to another image.
        x = ops.reshape(inputs, (-1, height, width, self.groups, channels // self.groups))
        return ops.reshape(ops.swapaxes(x, 3, 4), (-1, height, width, channels))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "groups": self.groups}
