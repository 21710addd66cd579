"""Stochastic depth (Huang et al. 2016, arXiv:1603.09382)."""

import keras
from keras import ops


def linear_decay(block: int, blocks: int, last: float = 0.5) -> float:
    """Returns the keep probability of a block under linear decay: from 1 at the input down to `last` at the last block.

    Args:
        block: Integer. Index of the block, from 1 to `blocks`; 0 stands for the input.
        blocks: Integer. Number of blocks.
        last: Number in [0, 1]. Keep probability of the last block.

    Returns:
        The number `1 - block / blocks * (1 - last)`.

    Raises:
        ValueError: If `block` is not in 0 to `blocks`, or `last` is outside [0, 1].

    Reference:
        Huang, Sun, Liu, Sedra and Weinberger, "Deep Networks with Stochastic Depth", ECCV 2016 (arXiv:1603.09382).

    Example:
        >>> from cifar_zoo import layers
        >>> [layers.linear_decay(block, 4) for block in (1, 2, 3, 4)]
        [0.875, 0.75, 0.625, 0.5]
    """
    if not 0 <= block <= blocks or blocks < 1:
        raise ValueError(f"block must be in 0 .. blocks, not {block} of {blocks}")
    if not 0 <= last <= 1:
        raise ValueError(f"last must be in [0, 1], not {last}")
    return 1 - block / blocks * (1 - last)


@keras.saving.register_keras_serializable(package="cifar_zoo")
class StochasticDepth(keras.layers.Layer):
    """Randomly drops a residual branch in training and scales it by its keep probability at inference.

    Unlike dropout, the layer does not scale the branches that are kept in training.

    Args:
        keep_probability: Number in [0, 1]. In the paper it decreases with the depth of the block; see `linear_decay`.
        per: String. "image" to draw for each image, or "batch" to draw once for the batch, as in the paper.
        seed: Integer or None. Seed of the random draws.

    Call arguments:
        inputs: A tensor of shape (batch, height, width, channels): the residual branch before it is added to the
            shortcut.
        training: Boolean. Whether to drop the branch at random.

    Returns:
        A tensor of the same shape and dtype as `inputs`.

    Raises:
        ValueError: If the keep probability is outside [0, 1], `per` is unknown, or the inputs are not of rank 4.

    Reference:
        Huang, Sun, Liu, Sedra and Weinberger, "Deep Networks with Stochastic Depth", ECCV 2016 (arXiv:1603.09382).

    Example:
        >>> import numpy as np
        >>> from cifar_zoo import layers
        >>> branch = np.ones((2, 8, 8, 16))
        >>> float(layers.StochasticDepth(keep_probability=0.75)(branch)[0, 0, 0, 0])
        0.75
    """

    def __init__(self, keep_probability=0.5, per="image", seed=None, **kwargs):
        super().__init__(**kwargs)
        if not 0 <= keep_probability <= 1:
            raise ValueError(f"keep_probability must be in [0, 1], not {keep_probability}")
        if per not in ("image", "batch"):
            raise ValueError(f'per must be "image" or "batch", not {per!r}')
        self.keep_probability = keep_probability
        self.per = per
        self.seed = seed
        self._generator = keras.random.SeedGenerator(seed)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def call(self, inputs, training=False):
        if not training:
            return inputs * self.keep_probability
        draws = ops.shape(inputs)[0] if self.per == "image" else 1
        keep = keras.random.uniform((draws, 1, 1, 1), dtype="float32", seed=self._generator) < self.keep_probability
        return inputs * ops.cast(keep, inputs.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        own = {"keep_probability": self.keep_probability, "per": self.per, "seed": self.seed}
        return {**super().get_config(), **own}
