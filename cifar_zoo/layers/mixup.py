"""Mixup augmentation (Zhang et al. 2018, arXiv:1710.09412)."""

import math

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="cifar_zoo")
class Mixup(keras.layers.Layer):
    """Blends each image with another image of the batch, with a random mixing coefficient.

    The result is `lam * image + (1 - lam) * other`, with the mixing coefficient lam drawn from Beta(alpha, alpha). The
    other image is the previous one in the batch, and for the first image the last one. In shuffled batches this is
    equivalent to a random partner, and `mix_targets` needs only lam to mix the targets accordingly. At inference the
    images are not mixed.

    Args:
        alpha: Positive number. Parameter of the beta distribution. With a small alpha most images are nearly unmixed; 1
            makes lam uniform.
        per: String. "batch" to draw one lam for the batch, as in the authors' code, or "image" to draw one for each
            image.
        seed: Integer or None. Seed of the random draws.

    Call arguments:
        images: A tensor of shape (batch, height, width, channels) and any real dtype.
        training: Boolean. Whether to mix the images.

    Returns:
        A tuple of the mixed images, a tensor of the same shape in the compute dtype of the layer, and lam, a float32
        tensor of shape (batch,), which is all ones at inference.

    Raises:
        ValueError: If `alpha` is not positive, `per` is unknown, or the images are not of rank 4.

    Reference:
        Zhang, Cisse, Dauphin and Lopez-Paz, "mixup: Beyond Empirical Risk Minimization", ICLR 2018 (arXiv:1710.09412).

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
        """Returns the weights of an image's pixels (count, 1 or height, 1 or width, 1) and of its target (count,)."""
        lam = symmetric_beta(self.alpha, *draws[:4])
        return lam[:, None, None, None], lam

    def compute_output_shape(self, input_shape):
        return input_shape, (input_shape[0],)

    def compute_output_spec(self, images, training=False):
        return keras.KerasTensor(images.shape, self.compute_dtype), keras.KerasTensor(images.shape[:1], "float32")

    def get_config(self):
        return {**super().get_config(), "alpha": self.alpha, "per": self.per, "seed": self.seed}


def mix_targets(targets, lam):
    """Blends the targets of a batch the way `Mixup` and `CutMix` blend its images.

    Args:
        targets: Tensor of shape (batch, classes), such as one-hot labels.
        lam: Tensor of shape (batch,). Weight of each image's own target, as returned by these layers.

    Returns:
        A tensor `lam * targets + (1 - lam) * others` of the same shape and dtype as `targets`. The others are the
        targets of the previous image in the batch, and for the first image those of the last one.

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
    """Transforms four independent values of Uniform(0, 1) into one of Beta(alpha, alpha).

    One coordinate of a random point on the sphere in 2 * alpha + 3 dimensions, rescaled to (0, 1), is distributed as
    `a/(a+b)` with two gamma variables of shape alpha + 1 (Ulrich 1984). Multiplying each of them by
    `uniform**(1/alpha)` makes them gamma variables of shape alpha. The method rejects no samples, so that XLA can
    compile it, and works on logits, so that values stay in range for a small alpha.

    Args:
        alpha: Positive number.
        radius: Tensor of uniform values.
        angle: Tensor of uniform values.
        left: Tensor of uniform values.
        right: Tensor of uniform values.

    Returns:
        A tensor of the same shape, with values in [0, 1].

    Reference:
        Ulrich, "Computer Generation of Distributions on the m-Sphere", Applied Statistics 33, 1984.
    """
    coordinate = ops.sqrt(1 - radius ** (2 / (2 * alpha + 1))) * ops.cos(2 * math.pi * angle)
    return ops.sigmoid(2 * ops.arctanh(coordinate) + (ops.log(left) - ops.log(right)) / alpha)
