"""Standardisation of each picture by itself."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="cifar_zoo")
class PerImageStandardization(keras.layers.Layer):
    """Bring each picture to mean 0 and standard deviation 1 over all its pixels and channels.

    The deviation is taken as at least 1 / sqrt(number of values), so that a picture of one colour becomes zeros.

    Call arguments:
        pictures: a tensor (batch, height, width, channels) of any real dtype.

    Returns: a tensor of the same shape in the layer's compute dtype.
    """

    def call(self, pictures):
        x = ops.cast(pictures, "float32")
        mean, variance = ops.moments(x, axes=(1, 2, 3), keepdims=True)
        floor = 1.0 / ops.cast(ops.prod(ops.shape(x)[1:]), "float32")
        return ops.cast((x - mean) * ops.rsqrt(ops.maximum(variance, floor)), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return input_shape
