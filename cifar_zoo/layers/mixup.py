"""Mixup (Zhang et al. 2018, arXiv:1710.09412)."""

import math

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="cifar_zoo")
class Mixup(keras.layers.Layer):
    """Blend each image with another image of the batch; at inference pass it on (Zhang et al. 2018).

    The result is `lam * image + (1 - lam) * other`, with the mixing coefficient lam drawn from Beta(alpha, alpha). The
    other image is the previous one in the batch, and for the first image the last one. Batches come shuffled, so that
    this is as good as a random choice, and only lam has to reach the loss, see `mix_targets`.

    Args:
        alpha: positive number. With a small alpha most images are nearly unmixed; 1 makes lam uniform.
        per: "batch" to draw one lam for the batch, as in the authors' code, or "image" to draw one for each image.
        seed: integer or None. Seed of the draws.

    Call arguments:
        images: a tensor (batch, height, width, channels) of any real dtype.
        training: boolean.

    Returns: the mixed images, of the same shape in the layer's compute dtype, and lam, float32 (batch,); ones at
        inference.

    Raises:
        ValueError: for an alpha that is not positive, another `per`, or images of another rank.

    Example:
        >>> import numpy as np
        >>> from cifar_zoo import layers
        >>> mixed, lam = layers.Mixup(alpha=0.2, seed=0)(np.ones((4, 32, 32, 3), "uint8"), training=True)
        >>> tuple(mixed.shape), tuple(lam.shape)
        ((4, 32, 32, 3), (4,))
    """

    def __init__(self, alpha=0.2, per="batch", seed=None, **kwargs):
        super().__init__(**kwargs)
        if not alpha > 0:
            raise ValueError(f"alpha must be positive, not {alpha}")
        if per not in ("image", "batch"):
            raise ValueError(f'per must be "image" or "batch", not {per!r}')
        self.alpha = alpha
        self.per = per
        self.seed = seed
        self._generator = keras.random.SeedGenerator(seed)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def call(self, images, training=False):
        images = ops.cast(images, self.compute_dtype)
        batch, (height, width) = ops.shape(images)[0], images.shape[1:3]
        if not training:
            return images, ops.ones((batch,), "float32")
        count = batch if self.per == "image" else 1
        draws = keras.random.uniform((6, count), 1e-30, 1, "float32", self._generator)
        weight, lam = self._coefficients(ops.unstack(draws, 6), height, width)
        weight = ops.cast(weight, self.compute_dtype)
        return weight * images + (1 - weight) * ops.roll(images, 1, axis=0), ops.broadcast_to(lam, (batch,))

    def _coefficients(self, draws, height, width):
        """The weight of each pixel of an image (count, 1 or height, 1 or width, 1), and that of its target (count,)."""
        lam = symmetric_beta(self.alpha, *draws[:4])
        return lam[:, None, None, None], lam

    def compute_output_shape(self, input_shape):
        return input_shape, (input_shape[0],)

    def compute_output_spec(self, images, training=False):
        return keras.KerasTensor(images.shape, self.compute_dtype), keras.KerasTensor(images.shape[:1], "float32")

    def get_config(self):
        return {**super().get_config(), "alpha": self.alpha, "per": self.per, "seed": self.seed}


def mix_targets(targets, lam):
    """Blend the targets of a batch as `Mixup` and `CutMix` blend its images.

    Args:
        targets: a tensor (batch, classes).
        lam: weight of each image's own target, (batch,), as returned by these layers.

    Returns: a tensor `lam * targets + (1 - lam) * others`, where the others are the targets of the previous image, and
        for the first image those of the last one.

    Example:
        >>> import numpy as np
        >>> from cifar_zoo import layers
        >>> mixed = layers.mix_targets(np.eye(2, dtype="float32"), np.array([0.75, 1], "float32"))
        >>> [[float(weight) for weight in target] for target in mixed]
        [[0.75, 0.25], [0.0, 1.0]]
    """
    targets = ops.convert_to_tensor(targets)
    lam = ops.cast(lam, targets.dtype)[:, None]
    return lam * targets + (1 - lam) * ops.roll(targets, 1, axis=0)


def symmetric_beta(alpha, radius, angle, left, right):
    """Values of Beta(alpha, alpha), out of four independent ones of Uniform(0, 1).

    One coordinate of a random point on the sphere in 2 * alpha + 3 dimensions, brought to (0, 1), is the quotient
    a / (a + b) of two gamma variables of alpha + 1 (Ulrich 1984), and each of these times uniform ** (1 / alpha) is one
    of alpha. Nothing is rejected, which XLA could not compile, and as logits the values stay in range at a small alpha.
    """
    coordinate = ops.sqrt(1 - radius ** (2 / (2 * alpha + 1))) * ops.cos(2 * math.pi * angle)
    return ops.sigmoid(2 * ops.arctanh(coordinate) + (ops.log(left) - ops.log(right)) / alpha)
