"""2D max pooling that is also fast on PyTorch."""

import keras

from cifar_zoo.backend import pooling
from cifar_zoo.checks import sides


@keras.saving.register_keras_serializable(package="cifar_zoo")
class MaxPooling2D(keras.layers.MaxPooling2D):
    """2D max pooling like Keras' own, but faster on PyTorch.

    On PyTorch, Keras first copies channels-last inputs to channels-first memory, where max pooling runs at half the
    speed. This layer pools the channels-last memory as it is.

    Args:
        pool_size: Integer, or a pair of integers for height and width.
        strides: Integer, or a pair of integers for height and width. None for strides equal to `pool_size`.
        padding: String. "same" or "valid".
        data_format: String. "channels_last" or "channels_first". The global image data format of Keras is ignored.
        **kwargs: Other arguments of `keras.layers.MaxPooling2D`.

    Call arguments:
        inputs: A tensor of shape (batch, height, width, channels).

    Returns:
        A tensor of shape (batch, new height, new width, channels) and the dtype of `inputs`.

    Raises:
        ValueError: If a size is not a positive integer, or the inputs are not of rank 4.

    Example:
        >>> import numpy as np
        >>> from cifar_zoo import layers
        >>> tuple(layers.MaxPooling2D(3, 2, padding="same")(np.ones((2, 8, 8, 4))).shape)
        (2, 4, 4, 4)
    """

    def __init__(self, pool_size=2, strides=None, padding="valid", data_format="channels_last", **kwargs):
        super().__init__(
            sides("pool_size", pool_size),
            strides=None if strides is None else sides("strides", strides),
            padding=padding,
            data_format=data_format,
            **kwargs,
        )

    def call(self, inputs):
        return pooling.max_pool(inputs, self.pool_size, self.strides, self.padding, self.data_format)
