"""Standardization of each image by itself."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="cifar_zoo")
class PerImageStandardization(keras.layers.Layer):
    """Bring each image to mean 0 and standard deviation 1 over all its pixels and channels.

    The deviation is taken as at least 1 / sqrt(number of values), so that an image of one color becomes zeros.

    Call arguments:
        images: a tensor (batch, height, width, channels) of any real dtype.

    Returns: a tensor of the same shape in the layer's compute dtype.

    Raises:
        ValueError: for images of another rank.

    Example:
        >>> import numpy as np
        >>> from cifar_zoo import layers
        >>> image = np.array([0, 255], "uint8").reshape(1, 1, 2, 1)
        >>> [round(float(x), 6) for x in layers.PerImageStandardization()(image)[0, 0, :, 0]]
        [-1.0, 1.0]
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def call(self, images):
        x = ops.cast(images, "float32")
        mean, variance = ops.moments(x, axes=(1, 2, 3), keepdims=True)
        floor = 1.0 / ops.cast(ops.prod(ops.shape(x)[1:]), "float32")
        return ops.cast((x - mean) * ops.rsqrt(ops.maximum(variance, floor)), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return input_shape
