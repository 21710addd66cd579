"""CutMix (Yun et al. 2019, arXiv:1905.04899)."""

import keras
from keras import ops

from cifar_zoo.layers.mixup import Mixup, symmetric_beta


@keras.saving.register_keras_serializable(package="cifar_zoo")
class CutMix(Mixup):
    """Paste a box of another image of the batch into each image; at inference pass it on (Yun et al. 2019).

    The box has the proportions of the image and the area 1 - lam, with lam drawn from Beta(alpha, alpha). Its center is
    uniform over the image, so that part of the box may lie outside; the lam that is returned is the fraction of the
    image that is left. The other image is the previous one in the batch, and for the first image the last one; see
    `mix_targets`.

    Args:
        alpha: positive number; 1 for a uniform lam.
        per: "batch" to draw one box a batch, as in the paper, or "image" to draw for each image.
        seed: integer or None. Seed of the draws.

    Call arguments:
        images: a tensor (batch, height, width, channels) of any real dtype; height and width must be known.
        training: boolean.

    Returns: the mixed images, of the same shape in the layer's compute dtype, and lam, float32 (batch,); ones at
        inference.

    Raises:
        ValueError: for an alpha that is not positive, another `per`, or images of another rank.

    Example:
        >>> import numpy as np
        >>> from cifar_zoo import layers
        >>> mixed, lam = layers.CutMix(seed=0)(np.ones((4, 32, 32, 3), "uint8"), training=True)
        >>> tuple(mixed.shape), tuple(lam.shape)
        ((4, 32, 32, 3), (4,))
    """

    def __init__(self, alpha=1.0, per="batch", seed=None, **kwargs):
        super().__init__(alpha=alpha, per=per, seed=seed, **kwargs)

    def _coefficients(self, draws, height, width):
        side = ops.sqrt(1 - symmetric_beta(self.alpha, *draws[:4]))
        rows, columns = _span(draws[4], side, height), _span(draws[5], side, width)
        own = 1 - rows[:, :, None, None] * columns[:, None, :, None]
        return own, 1 - ops.mean(rows, axis=1) * ops.mean(columns, axis=1)


def _span(center, side, length):
    """Which of `length` rows a box covers, as ones and zeros (count, length), by its center and side in 0..1."""
    size = ops.floor(side * length)
    start = ops.floor(center * length) - ops.floor(size / 2)
    row = ops.arange(length, dtype="float32")
    return ops.cast((row >= start[:, None]) & (row < (start + size)[:, None]), "float32")
