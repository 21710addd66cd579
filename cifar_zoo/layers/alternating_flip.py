"""The alternating flip of airbench (Jordan 2024, arXiv:2404.00498)."""

import keras
from keras import ops

from cifar_zoo.layers.checks import integer


@keras.saving.register_keras_serializable(package="cifar_zoo")
class AlternatingFlip(keras.layers.Layer):
    """Mirror each image at random in the first epoch and every other epoch from then on (arXiv:2404.00498).

    In any two epochs in a row a network so sees both sides of every image. Which images are mirrored in the first
    epoch is decided by their content, since nothing else tells them apart within a step: by the parity of a sum over
    pixels that were selected at random. So this has to be the first layer of an augmentation, where an image comes
    with the same pixels in every epoch. The epoch is counted by the calls in training.

    Args:
        steps_per_epoch: number of calls in training that make an epoch.
        seed: integer or None. Seed of the selection, which is drawn once and kept with the weights.

    Call arguments:
        images: a tensor (batch, height, width, channels) of whole numbers, of any real dtype; only the batch may be
            unknown.
        training: boolean. At inference images are passed on.

    Returns: a tensor of the same shape and dtype.

    Raises:
        ValueError: for `steps_per_epoch` that is not a positive integer, or images of another rank.

    Example:
        >>> import numpy as np
        >>> from cifar_zoo import layers
        >>> images = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype="uint8")
        >>> flip = layers.AlternatingFlip(steps_per_epoch=1, seed=0)
        >>> first, second = (np.asarray(flip(images, training=True)) for _ in range(2))
        >>> bool((first == second[:, :, ::-1]).all())
        True
    """

    def __init__(self, steps_per_epoch, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.steps_per_epoch = integer("steps_per_epoch", steps_per_epoch)
        self.seed = seed
        self._generator = keras.random.SeedGenerator(seed)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def build(self, input_shape):
        def draw(shape, dtype):
            return keras.random.randint(shape, 0, 2, dtype=dtype, seed=self._generator)

        self.selected = self.add_weight(
            shape=input_shape[1:], dtype="int32", initializer=draw, trainable=False, name="selected"
        )
        self.steps = self.add_weight(
            dtype="int32",
            initializer="zeros",
            trainable=False,
            aggregation="only_first_replica",
            name="steps",
        )

    def call(self, images, training=False):
        if not training:
            return images
        epoch = self.steps // self.steps_per_epoch
        self.steps.assign_add(1)
        # `selected` is 0 or 1: together with a pixel it gives the pixel's last bit, where it is selected.
        bits = ops.bitwise_and(ops.cast(images, "int32"), self.selected)
        mirror = (ops.sum(bits, axis=(1, 2, 3), keepdims=True) + epoch) % 2 == 1
        return ops.where(mirror, ops.flip(images, axis=2), images)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "steps_per_epoch": self.steps_per_epoch, "seed": self.seed}
