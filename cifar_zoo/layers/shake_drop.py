"""ShakeDrop regularization (Yamada et al. 2018, arXiv:1802.02375)."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="cifar_zoo")
class ShakeDrop(keras.layers.Layer):
    """Randomly perturbs a residual branch in training, with different factors in the forward and the backward pass.

    For each image a gate b is 1 with `keep_probability` and 0 otherwise. The branch is scaled by `b + alpha - b *
    alpha` in the forward pass and its gradient by `b + beta - b * beta` in the backward pass: by 1 if b is 1, else by
    alpha and beta. At inference the branch is scaled by the mean of the forward factor, which is the keep probability
    for alpha in (-1, 1).

    Args:
        keep_probability: Number in [0, 1]. In the paper it decreases with the depth of the block; see `linear_decay`.
        alpha: Pair `(low, high)`. Range of the uniform forward factor.
        beta: Pair `(low, high)`. Range of the uniform backward factor.
        seed: Integer or None. Seed of the random draws.

    Call arguments:
        inputs: A tensor of shape (batch, height, width, channels): the residual branch before it is added to the
            shortcut.
        training: Boolean. Whether to draw random factors.

    Returns:
        A tensor of the same shape and dtype as `inputs`.

    Raises:
        ValueError: If the keep probability is outside [0, 1], a range is not a pair with low <= high, or the inputs are
            not of rank 4.

    Reference:
        Yamada, Iwamura, Akiba and Kise, "ShakeDrop Regularization for Deep Residual Learning", 2018 (arXiv:1802.02375).

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
