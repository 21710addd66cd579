"""Muon for convolutional networks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops
from keras.optimizers.schedules import LearningRateSchedule

from cifar_zoo.backend.optimizer_steps import add_l2, momentum_direction
from cifar_zoo.checks import check_positive
from cifar_zoo.training.optimizers.sgd import SGD


@keras.saving.register_keras_serializable(package="cifar_zoo")
class Muon(SGD):
    """Momentum with orthogonalized steps for the hidden kernels (Jordan et al. 2024), and SGD for all other weights.

    A kernel of two or more dimensions is a matrix (inputs, outputs); for a convolution the inputs are the values under
    its window. The step of a matrix is its Nesterov momentum with all singular values brought near 1, times
    sqrt(max(1, outputs / inputs)): `w -= learning_rate * (step + l2 * w)`. The penalty is added after the momentum,
    because the size of the step does not depend on the size of the gradient. The kernel of a depthwise convolution has
    one matrix per channel. (Keras' own Muon leaves convolutions to AdamW.)

    Biases, batch norm, excluded kernels, and other matrices of one row or column follow the rule of `SGD` with the
    learning rate `learning_rate * sgd_lr_multiplier`.

    Args:
        learning_rate: Float or `LearningRateSchedule`, for the matrices.
        momentum: Float in [0, 1).
        sgd_lr_multiplier: Positive float, the learning-rate multiplier of all other weights.
        exclude: Strings. A variable with one of them in its path is not a hidden kernel.
        depthwise: Strings. A hidden kernel with one of them in its path is that of a depthwise convolution, of shape
            (height, width, channels, outputs per channel).
        matrix_dtype: String, the dtype of the orthogonalization. "bfloat16" is faster on hardware that supports it.
        fixed_norm: Boolean. Whether each matrix is scaled to the norm sqrt(outputs) after every step, instead of the
            penalty, so that the learning rate alone decides how far it turns. For kernels before batch norm, which
            cancels their scale.
        name: String.
        **kwargs: Arguments of `SGD`.

    Raises:
        ValueError: For an `sgd_lr_multiplier` that is not positive and finite, and as `SGD` does.

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
        learning_rate: float | LearningRateSchedule = 0.02,
        momentum: float = 0.95,
        sgd_lr_multiplier: float = 1.0,
        exclude: Sequence[str] = ("classifier",),
        depthwise: Sequence[str] = ("depthwise",),
        matrix_dtype: str = "float32",
        fixed_norm: bool = False,
        name: str = "muon",
        **kwargs: Any,
    ) -> None:
        check_positive("sgd_lr_multiplier", sgd_lr_multiplier)
        super().__init__(learning_rate=learning_rate, momentum=momentum, name=name, **kwargs)
        self.sgd_lr_multiplier = sgd_lr_multiplier
        self.exclude = tuple(exclude)
        self.depthwise = tuple(depthwise)
        self.matrix_dtype = matrix_dtype
        self.fixed_norm = fixed_norm

    def build(self, variables: list[keras.Variable]) -> None:
        """Create the state of every variable, and find the matrices."""
        if self.built:
            return
        super().build(variables)
        hidden = [not _contains(variable.path, self.exclude) for variable in variables]
        self._is_depthwise = [
            len(variable.shape) == 4 and kernel and _contains(variable.path, self.depthwise)
            for variable, kernel in zip(variables, hidden, strict=True)
        ]
        self._is_matrix = [
            depthwise or (kernel and len(variable.shape) > 1 and 1 < variable.shape[-1] < math.prod(variable.shape))
            for variable, kernel, depthwise in zip(variables, hidden, self._is_depthwise, strict=True)
        ]

    def _move(self, index: int, gradient: Any, variable: Any, learning_rate: Any) -> None:
        if not self._is_matrix[index]:
            super()._move(index, gradient, variable, learning_rate * self.sgd_lr_multiplier)
            return
        learning_rate = self._variable_learning_rate(index, learning_rate, variable.dtype)
        direction = momentum_direction(
            self._momenta[index],
            ops.cast(gradient, variable.dtype),
            momentum=self.momentum,
            nesterov=self.nesterov,
        )
        shape, depthwise = variable.shape, self._is_depthwise[index]
        matrices = _to_matrices(direction, depthwise)
        inputs, outputs = matrices.shape[-2:]
        step = math.sqrt(max(1, outputs / inputs)) * orthogonalize(matrices, self.matrix_dtype)
        step = _to_kernel(step, shape, depthwise)
        if self.fixed_norm:
            matrices = _to_matrices(variable - learning_rate * step, depthwise)
            moved = _to_kernel(matrices * (math.sqrt(outputs) / _norm(matrices)), shape, depthwise)
        else:
            moved = variable - learning_rate * add_l2(step, variable, self._l2[index])
        self.assign(variable, moved)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the optimizer as plain values."""
        own = ("sgd_lr_multiplier", "exclude", "depthwise", "matrix_dtype", "fixed_norm")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}


def orthogonalize(matrix: Any, dtype: str = "float32") -> Any:
    """Bring the singular values of a matrix near 1, by five Newton-Schulz steps of fifth degree.

    The coefficients are those of Jordan et al.: small singular values grow fast, and all end at about 0.7..1.2.

    Args:
        matrix: Tensor of shape (..., rows, columns).
        dtype: String, the dtype of the computation.

    Returns: a tensor of the shape and the dtype of `matrix`.
    """
    rows, columns = matrix.shape[-2:]
    x = ops.cast(matrix / (_norm(matrix) + 1e-7), dtype)
    x = ops.swapaxes(x, -1, -2) if rows > columns else x  # the smaller side as rows makes the smaller product
    for _ in range(5):
        square = ops.matmul(x, ops.swapaxes(x, -1, -2))
        x = 3.4445 * x + ops.matmul(-4.7750 * square + 2.0315 * ops.matmul(square, square), x)
    x = ops.swapaxes(x, -1, -2) if rows > columns else x
    return ops.cast(x, matrix.dtype)


def _norm(matrix: Any) -> Any:
    """Return the Frobenius norm of each matrix, of shape (..., 1, 1)."""
    return ops.sqrt(ops.sum(ops.square(matrix), axis=(-2, -1), keepdims=True))


def _contains(path: str, words: Sequence[str]) -> bool:
    return any(word in path for word in words)


def _to_matrices(kernel: Any, depthwise: bool) -> Any:
    """Return the matrix (inputs, outputs) of a kernel, or those of all channels (channels, inputs, outputs)."""
    if not depthwise:
        return ops.reshape(kernel, (-1, kernel.shape[-1]))
    return ops.swapaxes(ops.reshape(kernel, (-1, *kernel.shape[-2:])), 0, 1)


def _to_kernel(matrices: Any, shape: Sequence[int], depthwise: bool) -> Any:
    """Return the kernel of a shape whose matrices these are."""
    return ops.reshape(ops.swapaxes(matrices, 0, 1) if depthwise else matrices, shape)
