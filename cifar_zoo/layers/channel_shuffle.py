"""Channel shuffle of ShuffleNet (Zhang et al. 2017, arXiv:1707.01083)."""

import keras
from keras import ops

from cifar_zoo.layers.channel_groups import ChannelGroups


@keras.saving.register_keras_serializable(package="cifar_zoo")
class ChannelShuffle(ChannelGroups):
    """Interleaves groups of channels, so that information flows between the groups of successive grouped convolutions.

    The output has the first channel of every group, then the second channel of every group, and so on.

    Args:
        groups: Integer. Number of groups of adjacent channels. It must divide the number of channels.

    Call arguments:
        inputs: A tensor of shape (batch, height, width, channels).

    Returns:
        A tensor of the same shape and dtype as `inputs`.

    Raises:
        ValueError: If `groups` is not a positive integer or does not divide the number of channels, or the inputs are
            not of rank 4.

    Reference:
        Zhang, Zhou, Lin and Sun, "ShuffleNet: An Extremely Efficient Convolutional Neural Network for Mobile Devices",
        2017 (arXiv:1707.01083).

    Example:
        >>> import numpy as np
        >>> from cifar_zoo import layers
        >>> channels = np.arange(6.0).reshape(1, 1, 1, 6)
        >>> [int(channel) for channel in layers.ChannelShuffle(groups=2)(channels)[0, 0, 0]]
        [0, 3, 1, 4, 2, 5]
    """

    def call(self, inputs):
        height, width, channels = inputs.shape[1:]
        # Only the batch size is left to be inferred, so that a reshape can never mix values of different images.
        x = ops.reshape(inputs, (-1, height, width, self.groups, channels // self.groups))
        return ops.reshape(ops.swapaxes(x, 3, 4), (-1, height, width, channels))

    def compute_output_shape(self, input_shape):
        return input_shape
