"""CutMix augmentation (Yun et al. 2019, arXiv:1905.04899)."""

import keras
from keras import ops

from cifar_zoo.layers.mixup import Mixup, symmetric_beta


@keras.saving.register_keras_serializable(package="cifar_zoo")
class CutMix(Mixup):
    """Replaces a random box of each image by the same box of another image of the batch.

    The box has the aspect ratio of the image and covers the fraction 1 - lam of its area, with the mixing coefficient
    lam drawn from Beta(alpha, alpha). The center of the box is uniform over the image, so a part of the box may lie
    outside. The lam that is returned is the fraction of the image that was not replaced. The other image is the
    previous one in the batch, and for the first image the last one; `mix_targets` mixes the targets accordingly. At
    inference the images are not mixed.

    Args:
        alpha: Positive number. Parameter of the beta distribution; 1 makes lam uniform.
        per: String. "batch" to draw one box for the batch, as in the paper, or "image" to draw one for each image.
        seed: Integer or None. Seed of the random draws.

    Call arguments:
        images: A tensor of shape (batch, height, width, channels) and any real dtype. Height and width must be known.
        training: Boolean. Whether to mix the images.

    Returns:
        A tuple of the mixed images, a tensor of the same shape in the compute dtype of the layer, and lam, a float32
        tensor of shape (batch,), which is all ones at inference.

    Raises:
        ValueError: If `alpha` is not positive, `per` is unknown, or the images are not of rank 4.

    Reference:
        Yun, Han, Oh, Chun, Choe and Yoo, "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable
        Features", ICCV 2019 (arXiv:1905.04899).

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
    """Returns which of `length` rows a box covers: ones and zeros (count, length), from center and side in 0..1."""
    size = ops.floor(side * length)
    start = ops.floor(center * length) - ops.floor(size / 2)
    row = ops.arange(length, dtype="float32")
    return ops.cast((row >= start[:, None]) & (row < (start + size)[:, None]), "float32")
