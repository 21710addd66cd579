"""Sharpness-aware minimization (SAM), as a Trainer with its own training step."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import keras
from keras import ops

from cifar_zoo.training.trainer import Tensor, Trainer


class SharpnessAwareTrainer(Trainer):
    """A Trainer that minimizes the largest loss in a neighborhood of the weights.

    Each step computes the gradient at the perturbed weights, within the distance `rho`, where the loss is largest. This
    takes two passes with the same augmentation and dropout. The loss, the accuracy and the batch-norm statistics are
    those of the first pass.

    Args:
        *arguments, **options: As in `Trainer`.
        rho: Float. Norm of the perturbation of the weights.
        adaptive: Boolean. Whether to scale the perturbation of each weight in a kernel by its magnitude (ASAM).

    References:
        - Foret et al., "Sharpness-Aware Minimization for Efficiently Improving Generalization", 2021 (arXiv:2010.01412)
        - Kwon et al., "ASAM: Adaptive Sharpness-Aware Minimization for Scale-Invariant Learning of Deep Neural
          Networks", 2021 (arXiv:2102.11600)
    """

    def __init__(self, *arguments: Any, rho: float, adaptive: bool = False, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.rho = rho
        self.adaptive = adaptive

    def train_step(self, *arguments: Any) -> Any:
        return getattr(self, f"_{keras.backend.backend()}_step")(*arguments)

    def _tensorflow_step(self, data: Any) -> dict[str, Tensor]:
        import tensorflow as tf

        def gradients(x: Tensor, y: Tensor) -> Any:
            with tf.GradientTape() as tape:
                y_pred = self(x, training=True)
                loss = self.compute_loss(x, y, y_pred)
            zero = tf.UnconnectedGradients.ZERO
            return y_pred, loss, tape.gradient(loss, self.trainable_variables, unconnected_gradients=zero)

        return self._step(data, gradients)

    def _torch_step(self, data: Any) -> dict[str, Tensor]:
        import torch

        def gradients(x: Tensor, y: Tensor) -> Any:
            with torch.enable_grad():
                y_pred = self(x, training=True)
                loss = self.compute_loss(x, y, y_pred)
                weights = [variable.value for variable in self.trainable_variables]
                return y_pred, loss, torch.autograd.grad(loss, weights, materialize_grads=True)

        with torch.no_grad():
            # Dropout without a seed uses PyTorch's global generators, which must repeat their draws in the second pass.
            return self._step(data, gradients, first=torch.random.fork_rng())

    def _step(self, data: Any, gradients: Callable, first: AbstractContextManager | None = None) -> dict[str, Tensor]:
        """The training step on TensorFlow and PyTorch, where variables are assigned in place."""
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        weights, others = self.trainable_variables, self.non_trainable_variables
        start, before = _values(weights), _values(others)
        with first or nullcontext():
            y_pred, loss, slope = gradients(x, y)
        after = _values(others)
        _assign(weights, climb(start, slope, self.rho, self.adaptive))
        _assign(others, before)
        _, _, slope = gradients(x, y)
        _assign(weights, start)
        _assign(others, after)
        self.optimizer.apply(slope, weights)
        return self._measure(x, y, y_pred, loss)

    def _jax_step(self, state: Any, data: Any) -> Any:
        import jax

        weights, others, optimizer, metrics = state
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)

        def loss_at(weights: list[Tensor]) -> Any:
            y_pred, after = self.stateless_call(weights, others, x, training=True)
            return self.compute_loss(x, y, y_pred), (y_pred, after)

        gradients = jax.value_and_grad(loss_at, has_aux=True)
        (loss, (y_pred, after)), slope = gradients(weights)
        _, slope = gradients(climb(weights, slope, self.rho, self.adaptive))
        weights, optimizer = self.optimizer.stateless_apply(optimizer, slope, weights)
        with keras.StatelessScope(list(zip(self.metrics_variables, metrics, strict=True))) as scope:
            logs = self._measure(x, y, y_pred, loss)
        metrics = [scope.get_current_value(variable) for variable in self.metrics_variables]
        return logs, (weights, after, optimizer, metrics)

    def _measure(self, x: Tensor, y: Tensor, y_pred: Any, loss: Tensor) -> dict[str, Tensor]:
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss)
        return self.compute_metrics(x, y, y_pred)


def climb(weights: list[Tensor], gradients: list[Tensor], rho: float, adaptive: bool) -> list[Tensor]:
    """Return the weights at distance `rho` at which the loss is largest, to first order."""
    # ASAM scales kernels by their magnitude, but not biases and batch-norm parameters.
    units = [ops.abs(weight) + 0.01 if adaptive and len(weight.shape) > 1 else 1.0 for weight in weights]
    scaled = [unit * gradient for unit, gradient in zip(units, gradients, strict=True)]
    norm = ops.sqrt(sum(ops.sum(ops.square(gradient)) for gradient in scaled)) + 1e-12
    return [
        weight + rho / norm * unit * gradient for weight, unit, gradient in zip(weights, units, scaled, strict=True)
    ]


def _values(variables: list[keras.Variable]) -> list[Tensor]:
    return [ops.copy(variable) for variable in variables]


def _assign(variables: list[keras.Variable], values: list[Tensor]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
