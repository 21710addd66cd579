"""Stochastic depth (Huang et al. 2016, arXiv:1603.09382)."""

import keras
from keras import ops


def linear_decay(block, blocks, last=0.5):
    """The keep probability of a block: it falls from 1 at the input to `last` at the last block (Huang et al. 2016).

    Args:
        block: number of the block, 1 to `blocks`; 0 is the input.
        blocks: number of blocks.
        last: keep probability of the last block.

    Returns: 1 - block / blocks * (1 - last).

    Raises:
        ValueError: for a block that is not among the blocks or a probability outside [0, 1].

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
    """Drop a residual branch at random in training; at inference scale it by its keep probability (Huang et al. 2016).

    Unlike dropout it does not scale up what it keeps in training.

    Args:
        keep_probability: number in [0, 1]; in the paper it falls from block to block, see `linear_decay`.
        per: "image" to draw for each image, or "batch" to draw once a batch, as in the paper.
        seed: integer or None. Seed of the draws.

    Call arguments:
        inputs: a tensor (batch, height, width, channels), the branch before it is added to the shortcut.
        training: boolean.

    Returns: a tensor of the same shape and dtype.

    Raises:
        ValueError: for a probability outside [0, 1], another `per`, or inputs of another rank.

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
