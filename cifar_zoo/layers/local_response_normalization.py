"""Local response normalization of AlexNet."""

import keras
import numpy as np
from keras import ops

from cifar_zoo.layers.checks import integer


@keras.saving.register_keras_serializable(package="cifar_zoo")
class LocalResponseNormalization(keras.layers.Layer):
    """Divide each value by a power of the squares of its neighbors across channels (Krizhevsky et al. 2012, 3.3).

    `y[c] = x[c] / (bias + alpha * sum(x[c - depth_radius : c + depth_radius + 1] ** 2)) ** beta`, as
    `tf.nn.local_response_normalization` has it: the sum is not divided by the size of the window.

    Args:
        depth_radius: integer, channels to either side.
        bias: positive number, the offset.
        alpha: number, at least 0, the factor of the sum.
        beta: positive number, the exponent.

    Call arguments:
        inputs: a tensor (batch, height, width, channels).

    Returns: a tensor of the same shape and dtype.

    Raises:
        ValueError: for an argument outside the range above, or inputs of another rank.

    Example:
        >>> import numpy as np
        >>> from cifar_zoo import layers
        >>> channels = np.ones((1, 1, 1, 4))
        >>> [round(float(x), 2) for x in layers.LocalResponseNormalization(depth_radius=1)(channels)[0, 0, 0]]
        [0.58, 0.5, 0.5, 0.58]
    """

    def __init__(self, depth_radius=5, bias=1.0, alpha=1.0, beta=0.5, **kwargs):
        super().__init__(**kwargs)
        if not bias > 0:
            raise ValueError(f"bias must be positive, not {bias}")
        if not alpha >= 0:
            raise ValueError(f"alpha must be at least 0, not {alpha}")
        if not beta > 0:
            raise ValueError(f"beta must be positive, not {beta}")
        self.depth_radius = integer("depth_radius", depth_radius, at_least=0)
        self.bias = bias
        self.alpha = alpha
        self.beta = beta
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def build(self, input_shape):
        channel = np.arange(input_shape[-1])
        self._window = (np.abs(channel[:, None] - channel) <= self.depth_radius).astype("float32")

    def call(self, inputs):
        # The sum over a window of channels is a product with a band matrix: one fast operation on every backend.
        total = ops.matmul(ops.square(inputs), ops.cast(self._window, self.compute_dtype))
        return inputs * (self.bias + self.alpha * total) ** -self.beta

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        own = {"depth_radius": self.depth_radius, "bias": self.bias, "alpha": self.alpha, "beta": self.beta}
        return {**super().get_config(), **own}
