"""Mixup (Zhang et al. 2018, arXiv:1710.09412)."""

import math

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="cifar_zoo")
class Mixup(keras.layers.Layer):
    """Blend each image with another one of the batch; at inference pass it on (Zhang et al. 2018).

    The share of an image itself is drawn from Beta(alpha, alpha). The other image is the one before it in the batch,
    for the first one the last: batches come shuffled, and so only the share has to reach the loss, see `mix_targets`.

    Args:
        alpha: positive number. Small: most images are nearly pure; 1: all shares are as likely.
        per: "batch" to draw one share a batch, as in the authors' code, or "image" to draw for each image.
        seed: integer or None. Seed of the draws.

    Call arguments:
        images: a tensor (batch, height, width, channels) of any real dtype.
        training: boolean.

    Returns: the mixed images, of the same shape in the layer's compute dtype, and the share of each image's own
        target, float32 (batch,); ones at inference.

    Raises:
        ValueError: for an alpha that is not positive, another `per`, or images of another rank.

    Example:
        >>> import numpy as np
        >>> from cifar_zoo import layers
        >>> mixed, share = layers.Mixup(alpha=0.2, seed=0)(np.ones((4, 32, 32, 3), "uint8"), training=True)
        >>> tuple(mixed.shape), tuple(share.shape)
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
        own, share = self._shares(ops.unstack(draws, 6), height, width)
        own = ops.cast(own, self.compute_dtype)
        return own * images + (1 - own) * ops.roll(images, 1, axis=0), ops.broadcast_to(share, (batch,))

    def _shares(self, draws, height, width):
        """The shares of an image's own pixels (count, 1 or height, 1 or width, 1) and of its own target (count,)."""
        share = symmetric_beta(self.alpha, *draws[:4])
        return share[:, None, None, None], share

    def compute_output_shape(self, input_shape):
        return input_shape, (input_shape[0],)

    def compute_output_spec(self, images, training=False):
        return keras.KerasTensor(images.shape, self.compute_dtype), keras.KerasTensor(images.shape[:1], "float32")

    def get_config(self):
        return {**super().get_config(), "alpha": self.alpha, "per": self.per, "seed": self.seed}


def mix_targets(targets, share):
    """Blend the targets of a batch as `Mixup` and `CutMix` blend its images.

    Args:
        targets: a tensor (batch, classes).
        share: weight of each image's own target, (batch,), as these layers give it.

    Returns: share * targets + (1 - share) * (those of the image before, for the first one of the last).

    Example:
        >>> import numpy as np
        >>> from cifar_zoo import layers
        >>> mixed = layers.mix_targets(np.eye(2, dtype="float32"), np.array([0.75, 1], "float32"))
        >>> [[float(weight) for weight in target] for target in mixed]
        [[0.75, 0.25], [0.0, 1.0]]
    """
    targets = ops.convert_to_tensor(targets)
    share = ops.cast(share, targets.dtype)[:, None]
    return share * targets + (1 - share) * ops.roll(targets, 1, axis=0)


def symmetric_beta(alpha, radius, angle, left, right):
    """Values of Beta(alpha, alpha), out of four independent ones of Uniform(0, 1).

    One coordinate of a random point on the sphere in 2 * alpha + 3 dimensions, brought to (0, 1), is that share of two
    gamma variables of alpha + 1 (Ulrich 1984), and each of these times uniform ** (1 / alpha) is one of alpha. There is
    no rejection, which XLA could not compile, and in logits nothing runs out of range where alpha is small.
    """
    coordinate = ops.sqrt(1 - radius ** (2 / (2 * alpha + 1))) * ops.cos(2 * math.pi * angle)
    return ops.sigmoid(2 * ops.arctanh(coordinate) + (ops.log(left) - ops.log(right)) / alpha)
