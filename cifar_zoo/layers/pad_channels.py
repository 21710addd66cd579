"""Zero channels, for shortcuts without weights (He et al. 2015, arXiv:1512.03385)."""

import keras
from keras import ops

from cifar_zoo.layers.checks import integer


@keras.saving.register_keras_serializable(package="cifar_zoo")
class PadChannels(keras.layers.Layer):
    """Append channels of zeros up to a number: the shortcut without weights of He et al. 2015 (option A).

    Args:
        channels: number of channels of the result, at least that of the inputs.

    Call arguments:
        inputs: a tensor (batch, height, width, fewer channels).

    Returns: a tensor (batch, height, width, channels) of the same dtype.

    Raises:
        ValueError: for channels that are not a positive integer, inputs that have more channels, or inputs of another
            rank.

    Example:
        >>> import numpy as np
        >>> from cifar_zoo import layers
        >>> layers.PadChannels(32)(np.ones((2, 8, 8, 16))).shape[-1]
        32
    """

    def __init__(self, channels, **kwargs):
        super().__init__(**kwargs)
        self.channels = integer("channels", channels)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def build(self, input_shape):
        if input_shape[-1] > self.channels:
            raise ValueError(f"cannot pad {input_shape[-1]} channels to channels={self.channels}")

    def call(self, inputs):
        return ops.pad(inputs, ((0, 0), (0, 0), (0, 0), (0, self.channels - inputs.shape[-1])))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.channels)

    def get_config(self):
        return {**super().get_config(), "channels": self.channels}
