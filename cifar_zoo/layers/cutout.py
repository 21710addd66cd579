"""Cutout augmentation (DeVries and Taylor 2017, arXiv:1708.04552)."""

import keras
from keras import ops

from cifar_zoo.checks import integer


@keras.saving.register_keras_serializable(package="cifar_zoo")
class Cutout(keras.layers.Layer):
    """Masks out a randomly placed square of each image during training.

    The center of the square is uniform over the image, so a part of the square may lie outside, as in the paper. At
    inference the images are returned unchanged.

    Args:
        size: Integer. Side of the square in pixels.
        fill: Number, or a sequence with one number per channel. Value of the masked pixels.
        seed: Integer or None. Seed of the random draws.

    Call arguments:
        images: A tensor of shape (batch, height, width, channels) and any real dtype. Only the batch size may be
            unknown.
        training: Boolean. Whether to mask the images.

    Returns:
        A tensor of the same shape and dtype as `images`.

    Raises:
        ValueError: If `size` is not a positive integer, or the images are not of rank 4.

    Reference:
        DeVries and Taylor, "Improved Regularization of Convolutional Neural Networks with Cutout", 2017
        (arXiv:1708.04552).

    Example:
        >>> import numpy as np
        >>> from cifar_zoo import layers
        >>> images = np.zeros((2, 32, 32, 3), "uint8")
        >>> tuple(layers.Cutout(16, fill=(125, 123, 114))(images, training=True).shape)
        (2, 32, 32, 3)
    """

    def __init__(self, size, fill=0, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.size = integer("size", size)
        self.fill = fill
        self.seed = seed
        self._generator = keras.random.SeedGenerator(seed)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def call(self, images, training=False):
        if not training:
            return images
        batch, (height, width) = ops.shape(images)[0], images.shape[1:3]
        inside = self._span(batch, height)[:, :, None, None] & self._span(batch, width)[:, None, :, None]
        return ops.where(inside, ops.cast(self.fill, images.dtype), images)

    def _span(self, batch, length):
        """Returns which of `length` rows the square of each image covers: booleans (batch, length)."""
        start = keras.random.randint((batch, 1), 0, length, seed=self._generator) - self.size // 2
        row = ops.arange(length, dtype="int32")[None, :]
        return (row >= start) & (row < start + self.size)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "size": self.size, "fill": self.fill, "seed": self.seed}
