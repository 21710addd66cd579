"""Standardization of each image by its own mean and standard deviation."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="cifar_zoo")
class PerImageStandardization(keras.layers.Layer):
    """Standardizes each image to mean 0 and standard deviation 1 over all its pixels and channels.

    The standard deviation is bounded below by 1 / sqrt(number of values), so an image of a single value becomes all
    zeros.

    Call arguments:
        images: A tensor of shape (batch, height, width, channels) and any real dtype.

    Returns:
        A tensor of the same shape in the compute dtype of the layer.

    Raises:
        ValueError: If the images are not of rank 4.

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
