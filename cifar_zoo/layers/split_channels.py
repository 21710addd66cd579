"""Split of the channels into groups (Ma et al. 2018, arXiv:1807.11164)."""

import keras
from keras import ops

from cifar_zoo.layers.channel_groups import ChannelGroups


@keras.saving.register_keras_serializable(package="cifar_zoo")
class SplitChannels(ChannelGroups):
    """Splits the channels of a feature map into groups of the same size, as in the units of ShuffleNet V2.

    The gradient is a concatenation. That of slices, one for each group, is padded with zeros to all channels and added,
    which takes ten times as long on a CPU with TensorFlow.

    Args:
        groups: Integer. Number of groups. It must divide the number of channels.

    Call arguments:
        inputs: A tensor of shape (batch, height, width, channels).

    Returns:
        A list of `groups` tensors of shape (batch, height, width, channels / groups) and the dtype of `inputs`.

    Raises:
        ValueError: If `groups` is not a positive integer or does not divide the number of channels, or the inputs are
            not of rank 4.

    Reference:
        Ma, Zhang, Zheng and Sun, "ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design", ECCV 2018
        (arXiv:1807.11164).

    Example:
        >>> import numpy as np
        >>> from cifar_zoo import layers
        >>> first, second = layers.SplitChannels(2)(np.arange(6.0).reshape(1, 1, 1, 6))
        >>> [int(channel) for channel in second[0, 0, 0]]
        [3, 4, 5]
    """

    def call(self, inputs):
        return list(ops.split(inputs, self.groups, axis=-1))

    def compute_output_shape(self, input_shape):
        return [(*input_shape[:-1], input_shape[-1] // self.groups)] * self.groups
