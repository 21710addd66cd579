"""Shake-shake regularization (Gastaldi 2017, arXiv:1705.07485)."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="cifar_zoo")
class ShakeShake(keras.layers.Layer):
    """Mixes two branches with random coefficients, drawn separately for the forward and the backward pass.

    The output is `alpha * left + (1 - alpha) * right`, with the gradient of `beta * left + (1 - beta) * right`. Both
    coefficients are uniform in [0, 1) and drawn independently for each image ("Shake-Shake-Image"). At inference the
    output is the mean of the branches.

    Args:
        seed: Integer or None. Seed of the random draws.

    Call arguments:
        inputs: `[left, right]`, two tensors of the same shape (batch, height, width, channels).
        training: Boolean. Whether to draw random coefficients.

    Returns:
        A tensor of the same shape and dtype as each input.

    Raises:
        ValueError: If the inputs are not two tensors of rank 4 and the same shape.

    Reference:
        Gastaldi, "Shake-Shake regularization", 2017 (arXiv:1705.07485).

    Example:
        >>> import numpy as np
        >>> from cifar_zoo import layers
        >>> left, right = np.zeros((2, 8, 8, 16)), np.ones((2, 8, 8, 16))
        >>> float(layers.ShakeShake()([left, right])[0, 0, 0, 0])
        0.5
    """

    def __init__(self, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.seed = seed
        self._generator = keras.random.SeedGenerator(seed)
        self.input_spec = [keras.layers.InputSpec(ndim=4), keras.layers.InputSpec(ndim=4)]

    def build(self, input_shape):
        left, right = (tuple(shape)[1:] for shape in input_shape)
        if left != right:
            raise ValueError(f"the two branches must have the same shape, not {left} and {right}")

    def call(self, inputs, training=False):
        left, right = inputs
        if not training:
            return (left + right) / 2
        share = keras.random.uniform((2, ops.shape(left)[0], 1, 1, 1), dtype="float32", seed=self._generator)
        alpha, beta = ops.cast(share[0], left.dtype), ops.cast(share[1], left.dtype)
        forward = alpha * left + (1 - alpha) * right
        backward = beta * left + (1 - beta) * right
        return backward + ops.stop_gradient(forward - backward)  # the value of forward, the gradient of backward

    def compute_output_shape(self, input_shape):
        return input_shape[0]

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}
