"""Kernel selection of selective kernel networks (Li et al. 2019, arXiv:1903.06586)."""

import keras
from keras import ops

from cifar_zoo.checks import integer
from cifar_zoo.layers.batch_normalization import BatchNormalization


@keras.saving.register_keras_serializable(package="cifar_zoo")
class SelectiveKernel(keras.layers.Layer):
    """Combines branches with different kernel sizes by softmax weights computed for each image and channel.

    The branches are summed and averaged over the spatial positions, then reduced by a dense layer with batch
    normalization and ReLU. A second dense layer and a softmax across the branches give the weights, which sum to 1 for
    each channel. The convolutions of the branches are not part of this layer.

    Args:
        ratio: Integer. Reduction ratio: the first dense layer has `max(channels // ratio, min_units)` units.
        min_units: Integer. Least number of units of the first dense layer.

    Call arguments:
        inputs: A list of two or more tensors of the same shape (batch, height, width, channels).
        training: Boolean. Whether batch normalization uses the statistics of the batch.

    Returns:
        A tensor of the same shape and dtype as each input.

    Raises:
        ValueError: If `ratio` or `min_units` is not a positive integer, or the inputs are not a list of two or more
            tensors of rank 4 and the same shape.

    Reference:
        Li, Wang, Hu and Yang, "Selective Kernel Networks", CVPR 2019 (arXiv:1903.06586).

    Example:
        >>> import numpy as np
        >>> from cifar_zoo import layers
        >>> layer = layers.SelectiveKernel()
        >>> branches = [np.ones((2, 8, 8, 16)), np.ones((2, 8, 8, 16))]
        >>> tuple(layer(branches).shape), layer.count_params()
        ((2, 8, 8, 16), 1696)
    """

    def __init__(self, ratio=16, min_units=32, **kwargs):
        super().__init__(**kwargs)
        self.ratio = integer("ratio", ratio)
        self.min_units = integer("min_units", min_units)

    def build(self, input_shape):
        if not isinstance(input_shape[0], (tuple, list)) or len(input_shape) < 2:
            raise ValueError(f"the inputs must be a list of two or more branches, not of shape {input_shape}")
        shapes = [tuple(shape) for shape in input_shape]
        if len(shapes[0]) != 4 or len({shape[1:] for shape in shapes}) > 1:
            raise ValueError(f"the branches must be of rank 4 and have the same shape, not {shapes}")
        branches, channels = len(shapes), shapes[0][-1]
        units = max(channels // self.ratio, self.min_units)
        self.input_spec = [keras.layers.InputSpec(ndim=4, axes={-1: channels}) for _ in shapes]
        self.reduce = keras.layers.Dense(
            units,
            use_bias=False,
            kernel_initializer="he_normal",
            name=f"{self.name}_reduce",
            dtype=self.dtype_policy,
        )
        self.reduce.build((None, channels))
        self.normalization = BatchNormalization(
            epsilon=1e-3, name=f"{self.name}_normalization", dtype=self.dtype_policy
        )
        self.normalization.build((None, units))
        self.select = keras.layers.Dense(
            branches * channels, kernel_initializer="he_normal", name=f"{self.name}_select", dtype=self.dtype_policy
        )
        self.select.build((None, units))

    def call(self, inputs, training=False):
        fused = self.reduce(ops.mean(sum(inputs), axis=(1, 2)))
        fused = ops.relu(self.normalization(fused, training=training))
        scores = ops.reshape(self.select(fused), (-1, len(inputs), 1, 1, inputs[0].shape[-1]))
        weights = ops.softmax(scores, axis=1)
        return sum(weights[:, i] * branch for i, branch in enumerate(inputs))

    def compute_output_shape(self, input_shape):
        return tuple(input_shape[0])

    def get_config(self):
        return {**super().get_config(), "ratio": self.ratio, "min_units": self.min_units}
