"""Random horizontal flip, drawn for each picture."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="cifar_zoo")
class RandomFlip(keras.layers.Layer):
    """Mirror each picture left to right with probability one half; at inference pass it on.

    Args:
        seed: integer or None. Seed of the draws.

    Call arguments:
        pictures: a tensor (batch, height, width, channels) of any dtype.
        training: boolean.

    Returns: a tensor of the same shape and dtype.

    Raises:
        ValueError: for pictures of another rank.

    Example:
        >>> import numpy as np
        >>> from cifar_zoo import layers
        >>> pictures = np.zeros((2, 32, 32, 3), "uint8")
        >>> tuple(layers.RandomFlip()(pictures, training=True).shape)
        (2, 32, 32, 3)
    """

    def __init__(self, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.seed = seed
        self._generator = keras.random.SeedGenerator(seed)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def call(self, pictures, training=False):
        if not training:
            return pictures
        mirror = keras.random.uniform((ops.shape(pictures)[0], 1, 1, 1), seed=self._generator) < 0.5
        return ops.where(mirror, ops.flip(pictures, axis=2), pictures)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}
