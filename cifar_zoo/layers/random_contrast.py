"""Random contrast, drawn for each image."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="cifar_zoo")
class RandomContrast(keras.layers.Layer):
    """Randomly adjusts the contrast of each image during training.

    Computes `mean + factor * (pixel - mean)`, with the mean of each channel of the image. As
    `tf.image.random_contrast`, but with a factor of its own for each image. At inference the images are only cast to
    the compute dtype of the layer.

    Args:
        lower: Number, at least 0. The factor is uniform in [lower, upper).
        upper: Number, at least `lower`.
        value_range: None, or a pair (low, high) to which the results of training are clipped.
        seed: Integer or None. Seed of the random draws.

    Call arguments:
        images: A tensor of shape (batch, height, width, channels) and any real dtype.
        training: Boolean. Whether to adjust the images.

    Returns:
        A tensor of the same shape. Integers become floats in the compute dtype of the layer, since the results are not
        rounded and, without `value_range`, may lie outside of the range of the pixels.

    Raises:
        ValueError: If `lower` is negative, `upper` is less than `lower`, `value_range` is not a pair with low < high,
            or the images are not of rank 4.

    Example:
        >>> import numpy as np
        >>> from cifar_zoo import layers
        >>> images = np.zeros((2, 24, 24, 3), "uint8")
        >>> tuple(layers.RandomContrast(0.2, 1.8)(images, training=True).shape)
        (2, 24, 24, 3)
    """

    def __init__(self, lower, upper, value_range=None, seed=None, **kwargs):
        super().__init__(**kwargs)
        if not 0 <= lower <= upper:
            raise ValueError(f"lower and upper must be 0 <= lower <= upper, not {lower} and {upper}")
        if value_range is not None and not (len(value_range) == 2 and value_range[0] < value_range[1]):
            raise ValueError(f"value_range must be None or (low, high) with low < high, not {value_range}")
        self.lower = lower
        self.upper = upper
        self.value_range = value_range
        self.seed = seed
        self._generator = keras.random.SeedGenerator(seed)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def call(self, images, training=False):
        images = ops.cast(images, self.compute_dtype)
        if not training:
            return images
        shape = (ops.shape(images)[0], 1, 1, 1)
        factor = keras.random.uniform(shape, self.lower, self.upper, dtype="float32", seed=self._generator)
        x = ops.cast(images, "float32")
        mean = ops.mean(x, axis=(1, 2), keepdims=True)
        result = mean + factor * (x - mean)
        if self.value_range is not None:
            result = ops.clip(result, *self.value_range)
        return ops.cast(result, images.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        own = {"lower": self.lower, "upper": self.upper, "value_range": self.value_range, "seed": self.seed}
        return {**super().get_config(), **own}
