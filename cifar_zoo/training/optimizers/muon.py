"""Muon for convolutional networks."""

import math

import keras
from keras import ops

from cifar_zoo.training.optimizers.sgd import SGD


@keras.saving.register_keras_serializable(package="cifar_zoo")
class Muon(SGD):
    """Momentum whose steps are orthogonal matrices, for the hidden kernels (Jordan et al. 2024); SGD for all others.

    A kernel of two or more dimensions is a matrix (inputs, outputs); for a convolution the inputs are the values under
    its window. The step of a matrix is its Nesterov momentum with all singular values brought near 1, times
    sqrt(max(1, outputs / inputs)): `w -= rate * (step + l2 * w)`. Here the penalty goes past the momentum, since a step
    of fixed size would lose it. (Keras' own Muon leaves convolutions to AdamW.)

    Biases, batch norm, excluded kernels, and matrices of one row or column, such as those of depthwise convolutions,
    follow the rule of `SGD` at the rate `learning_rate * sgd_lr_multiplier`.

    Args:
        learning_rate: float or LearningRateSchedule, of the matrices.
        momentum: float in [0, 1).
        sgd_lr_multiplier: positive number.
        exclude: words in the paths of variables that are not hidden.
        matrix_dtype: number format of the orthogonalization; "bfloat16" is faster on hardware that has it.
        fixed_norm: whether each matrix has the norm sqrt(outputs) after every step, in place of the penalty, so that
            the rate alone says how far it turns; for kernels before batch norm, which takes their scale out.
        **kwargs: those of `SGD`.

    Raises:
        ValueError: for a ratio that is not positive, and as `SGD` does.

    Example:
        >>> import keras, numpy as np
        >>> from cifar_zoo import optimizers
        >>> kernel = keras.Variable(np.zeros((3, 3, 2, 16), "float32"), name="kernel")
        >>> optimizers.Muon(0.1).apply([np.random.default_rng(0).normal(size=kernel.shape)], [kernel])
        >>> singular_values = np.linalg.svd(np.reshape(kernel, (18, 16)), compute_uv=False)
        >>> bool(np.all((singular_values > 0.06) & (singular_values < 0.13)))
        True
    """

    def __init__(
        self,
        learning_rate=0.02,
        momentum=0.95,
        sgd_lr_multiplier=1.0,
        exclude=("classifier",),
        matrix_dtype="float32",
        fixed_norm=False,
        name="muon",
        **kwargs,
    ):
        if not sgd_lr_multiplier > 0:
            raise ValueError(f"sgd_lr_multiplier must be positive, not {sgd_lr_multiplier}")
        super().__init__(learning_rate=learning_rate, momentum=momentum, name=name, **kwargs)
        self.sgd_lr_multiplier = sgd_lr_multiplier
        self.exclude = tuple(exclude)
        self.matrix_dtype = matrix_dtype
        self.fixed_norm = fixed_norm

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self._is_matrix = [
            len(variable.shape) > 1
            and 1 < variable.shape[-1] < math.prod(variable.shape)
            and not any(word in variable.path for word in self.exclude)
            for variable in variables
        ]

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        if not self._is_matrix[index]:
            return super().update_step(gradient, variable, learning_rate * self.sgd_lr_multiplier)
        rate = self._rate(index, learning_rate, variable.dtype)
        direction = self._direction(index, ops.cast(gradient, variable.dtype))
        matrix = ops.reshape(direction, (-1, direction.shape[-1]))
        inputs, outputs = matrix.shape
        step = math.sqrt(max(1, outputs / inputs)) * orthogonalize(matrix, self.matrix_dtype)
        step = ops.reshape(step, direction.shape)
        if self.fixed_norm:
            moved = variable - rate * step
            moved = moved * (math.sqrt(outputs) / ops.norm(ops.reshape(moved, -1)))
        else:
            moved = variable - rate * self._penalized(index, step, variable)
        self.assign(variable, moved)
        self._move_average(index, variable)

    def get_config(self):
        own = {name: getattr(self, name) for name in ("sgd_lr_multiplier", "exclude", "matrix_dtype", "fixed_norm")}
        return {**super().get_config(), **own}


def orthogonalize(matrix, dtype="float32"):
    """Bring the singular values of a matrix near 1, by five Newton-Schulz steps of fifth degree.

    The coefficients are those of Jordan et al., which raise small singular values fast and leave all in about 0.7..1.2.
    """
    rows, columns = matrix.shape
    x = ops.cast(matrix / (ops.norm(matrix) + 1e-7), dtype)
    x = ops.transpose(x) if rows > columns else x  # the smaller side as rows makes the smaller product
    for _ in range(5):
        square = ops.matmul(x, ops.transpose(x))
        x = 3.4445 * x + ops.matmul(-4.7750 * square + 2.0315 * ops.matmul(square, square), x)
    x = ops.transpose(x) if rows > columns else x
    return ops.cast(x, matrix.dtype)
