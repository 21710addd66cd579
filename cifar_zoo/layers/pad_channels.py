"""Zero-padding of channels for parameter-free shortcuts (He et al. 2015, arXiv:1512.03385)."""

import keras
from keras import ops

from cifar_zoo.checks import integer


@keras.saving.register_keras_serializable(package="cifar_zoo")
class PadChannels(keras.layers.Layer):
    """Appends zero channels to a feature map, as in the parameter-free shortcuts of ResNet (option A).

    Args:
        channels: Integer. Number of output channels, at least that of the inputs.

    Call arguments:
        inputs: A tensor of shape (batch, height, width, input channels).

    Returns:
        A tensor of shape (batch, height, width, channels) and the dtype of `inputs`.

    Raises:
        ValueError: If `channels` is not a positive integer or less than the number of input channels, or the inputs are
            not of rank 4.

    Reference:
        He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2015 (arXiv:1512.03385).

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
