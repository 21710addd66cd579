"""Max-pooling that is fast on PyTorch too."""

import keras

from cifar_zoo.backend import pooling
from cifar_zoo.layers.checks import sides


@keras.saving.register_keras_serializable(package="cifar_zoo")
class MaxPooling2D(keras.layers.MaxPooling2D):
    """Keras' max-pooling; on PyTorch without the copy of its inputs into another order, and in their own.

    In that order PyTorch pools at half of the speed.

    Args:
        pool_size: integer, or two for height and width.
        strides: integer, or two for height and width; None for those of `pool_size`.
        padding: "same" or "valid".
        data_format: "channels_last" or "channels_first"; the global setting of Keras has no influence.
        **kwargs: the others of `keras.layers.MaxPooling2D`.

    Call arguments:
        inputs: a tensor (batch, height, width, channels).

    Returns: a tensor (batch, new height, new width, channels) of the same dtype.

    Raises:
        ValueError: for sizes that are not positive integers, or inputs of another rank.

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
