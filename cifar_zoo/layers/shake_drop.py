"""ShakeDrop regularization (Yamada et al. 2018, arXiv:1802.02375)."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="cifar_zoo")
class ShakeDrop(keras.layers.Layer):
    """Scale a residual branch, for some images at random, by alpha forward and by beta back (Yamada et al. 2018).

    A gate b, 1 with `keep_probability`, decides for each image whether the branch passes as it is. The factor is
    `b + alpha - b * alpha` on the way forward and `b + beta - b * beta` on the way back: 1 where b is 1, else alpha
    and beta. At inference it is the mean of the forward factor, for alpha in (-1, 1) the keep probability.

    Args:
        keep_probability: number in [0, 1]; in the paper it falls from block to block, see `linear_decay`.
        alpha: `(low, high)`, the range of the uniform alpha.
        beta: `(low, high)`, the range of the uniform beta.
        seed: integer or None. Seed of the draws.

    Call arguments:
        inputs: a tensor (batch, height, width, channels), the branch before it is added to the shortcut.
        training: boolean.

    Returns: a tensor of the same shape and dtype.

    Raises:
        ValueError: for a probability outside [0, 1], a range with low above high, or inputs of another rank.

    Example:
        >>> import numpy as np
        >>> from cifar_zoo import layers
        >>> branch = np.ones((2, 8, 8, 16))
        >>> float(layers.ShakeDrop(keep_probability=0.75)(branch)[0, 0, 0, 0])
        0.75
    """

    def __init__(self, keep_probability=0.5, alpha=(-1, 1), beta=(0, 1), seed=None, **kwargs):
        super().__init__(**kwargs)
        if not 0 <= keep_probability <= 1:
            raise ValueError(f"keep_probability must be in [0, 1], not {keep_probability}")
        for name, span in (("alpha", alpha), ("beta", beta)):
            if len(span) != 2 or not span[0] <= span[1]:
                raise ValueError(f"{name} must be (low, high) with low <= high, not {span}")
        self.keep_probability = keep_probability
        self.alpha = tuple(alpha)
        self.beta = tuple(beta)
        self.seed = seed
        self._generator = keras.random.SeedGenerator(seed)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def call(self, inputs, training=False):
        if not training:
            return inputs * (self.keep_probability + (1 - self.keep_probability) * sum(self.alpha) / 2)
        draw = keras.random.uniform((3, ops.shape(inputs)[0], 1, 1, 1), dtype="float32", seed=self._generator)
        keep = draw[0] < self.keep_probability
        forward, backward = (
            ops.where(keep, 1.0, low + (high - low) * share)
            for share, (low, high) in ((draw[1], self.alpha), (draw[2], self.beta))
        )
        rest = inputs * ops.cast(forward - backward, inputs.dtype)
        return inputs * ops.cast(backward, inputs.dtype) + ops.stop_gradient(rest)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        own = {"keep_probability": self.keep_probability, "alpha": self.alpha, "beta": self.beta, "seed": self.seed}
        return {**super().get_config(), **own}
