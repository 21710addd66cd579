"""Random horizontal flip, drawn for each image."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="cifar_zoo")
class RandomFlip(keras.layers.Layer):
    """Randomly flips images horizontally during training.

    Each image is flipped with probability 0.5. At inference the images are returned unchanged.

    Args:
        seed: Integer or None. Seed of the random draws.

    Call arguments:
        images: A tensor of shape (batch, height, width, channels) and any dtype.
        training: Boolean. Whether to flip the images.

    Returns:
        A tensor of the same shape and dtype as `images`.

    Raises:
        ValueError: If the images are not of rank 4.

    Example:
        >>> import numpy as np
        >>> from cifar_zoo import layers
        >>> images = np.zeros((2, 32, 32, 3), "uint8")
        >>> tuple(layers.RandomFlip()(images, training=True).shape)
        (2, 32, 32, 3)
    """

    def __init__(self, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.seed = seed
        self._generator = keras.random.SeedGenerator(seed)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def call(self, images, training=False):
        if not training:
            return images
        mirror = keras.random.uniform((ops.shape(images)[0], 1, 1, 1), dtype="float32", seed=self._generator) < 0.5
        return ops.where(mirror, ops.flip(images, axis=2), images)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}
