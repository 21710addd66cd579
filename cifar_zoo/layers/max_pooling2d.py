"""Max-pooling that is fast on PyTorch too."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="cifar_zoo")
class MaxPooling2D(keras.layers.MaxPooling2D):
    """Keras' max-pooling; on PyTorch without the copy of its inputs into another order, and in their own.

    In that order PyTorch pools at half of the speed.

    Args:
        pool_size: integer, or two for height and width.
        strides: integer, or two for height and width; None for those of `pool_size`.
        padding: "same" or "valid".
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

    def __init__(self, pool_size=2, strides=None, padding="valid", **kwargs):
        super().__init__(pool_size, strides=strides, padding=padding, **kwargs)

    def call(self, inputs):
        if keras.backend.backend() != "torch" or self.data_format != "channels_last":
            return super().call(inputs)
        planes = inputs.permute(0, 3, 1, 2)  # a view, as in Conv2D
        return ops.max_pool(planes, self.pool_size, self.strides, self.padding, "channels_first").permute(0, 2, 3, 1)
