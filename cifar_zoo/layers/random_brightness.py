"""Random brightness, drawn for each image."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="cifar_zoo")
class RandomBrightness(keras.layers.Layer):
    """Randomly adjusts the brightness of each image during training, by adding one number to all its pixels.

    As `tf.image.random_brightness`, but with a number of its own for each image. At inference the images are only cast
    to the compute dtype of the layer.

    Args:
        max_delta: Number, at least 0. The number to add is uniform in [-max_delta, max_delta).
        value_range: None, or a pair (low, high) to which the results of training are clipped.
        seed: Integer or None. Seed of the random draws.

    Call arguments:
        images: A tensor of shape (batch, height, width, channels) and any real dtype.
        training: Boolean. Whether to adjust the images.

    Returns:
        A tensor of the same shape. Integers become floats in the compute dtype of the layer, since the results are not
        rounded and, without `value_range`, may lie outside of the range of the pixels.

    Raises:
        ValueError: If `max_delta` is negative, `value_range` is not a pair with low < high, or the images are not of
            rank 4.

    Example:
        >>> import numpy as np
        >>> from cifar_zoo import layers
        >>> images = np.zeros((2, 24, 24, 3), "uint8")
        >>> tuple(layers.RandomBrightness(63)(images, training=True).shape)
        (2, 24, 24, 3)
    """

    def __init__(self, max_delta, value_range=None, seed=None, **kwargs):
        super().__init__(**kwargs)
        if not max_delta >= 0:
            raise ValueError(f"max_delta must be 0 or more, not {max_delta}")
        if value_range is not None and not (len(value_range) == 2 and value_range[0] < value_range[1]):
            raise ValueError(f"value_range must be None or (low, high) with low < high, not {value_range}")
        self.max_delta = max_delta
        self.value_range = value_range
        self.seed = seed
        self._generator = keras.random.SeedGenerator(seed)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def call(self, images, training=False):
        images = ops.cast(images, self.compute_dtype)
        if not training:
            return images
        shape = (ops.shape(images)[0], 1, 1, 1)
        delta = keras.random.uniform(shape, -self.max_delta, self.max_delta, dtype="float32", seed=self._generator)
        result = images + ops.cast(delta, images.dtype)
        return result if self.value_range is None else ops.clip(result, *self.value_range)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        own = {"max_delta": self.max_delta, "value_range": self.value_range, "seed": self.seed}
        return {**super().get_config(), **own}
