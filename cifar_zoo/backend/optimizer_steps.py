"""The inner steps of the optimizers, each by the backend's fastest way."""

from __future__ import annotations

from typing import Any

from cifar_zoo.lazy import keras


def momentum_step(
    variable: keras.Variable,
    accumulator: keras.Variable,
    gradient: Any,
    learning_rate: Any,
    *,
    momentum: float,
    nesterov: bool,
    l2: float,
) -> None:
    """Update a variable by SGD with momentum and coupled L2, the rule of `torch.optim.SGD`, in place.

    Args:
        variable: the variable; inside of an optimizer on TensorFlow, a bare `tf.Variable`.
        accumulator: its momentum, which is updated too.
        gradient: tensor of the same shape and dtype.
        learning_rate: scalar tensor of the same dtype.
        momentum: float in [0, 1).
        nesterov: whether the momentum is Nesterov's.
        l2: factor of the variable in its gradient.
    """
    step = {"tensorflow": _tensorflow_momentum_step, "torch": _torch_momentum_step}.get(keras.backend.backend())
    if step is not None:
        step(variable, accumulator, gradient, learning_rate, momentum, nesterov, l2)
        return
    direction = momentum_direction(accumulator, add_l2(gradient, variable, l2), momentum=momentum, nesterov=nesterov)
    variable.assign(variable - learning_rate * direction)


def momentum_direction(accumulator: keras.Variable, gradient: Any, *, momentum: float, nesterov: bool) -> Any:
    """Update the momentum by a gradient, and return the direction of the step."""
    moved = momentum * accumulator + gradient
    accumulator.assign(moved)
    return gradient + momentum * moved if nesterov else moved


def add_l2(gradient: Any, variable: keras.Variable, l2: float) -> Any:
    """Return a gradient with that of the penalty `l2 / 2 * sum(variable ** 2)`."""
    return gradient + l2 * variable if l2 else gradient


def ema_step(average: keras.Variable, variable: keras.Variable, fraction: Any) -> None:
    """Move an exponential moving average towards a variable by a fraction (a scalar tensor) of the way, in place.

    A fraction of 1 copies the variable, if the average is zero, to the bit.
    """
    backend = keras.backend.backend()
    if backend == "torch":
        average.value.lerp_(variable.value.detach(), fraction)
    elif backend == "tensorflow":
        import tensorflow as tf

        # In one operation, where `assign` would hold two tensors more.
        tf.raw_ops.ResourceApplyGradientDescent(var=average.value.handle, alpha=fraction, delta=average - variable)
    else:
        average.assign(average + fraction * (variable - average))


def _tensorflow_momentum_step(
    variable: Any, accumulator: Any, gradient: Any, learning_rate: Any, momentum: float, nesterov: bool, l2: float
) -> None:
    import tensorflow as tf

    tf.raw_ops.ResourceApplyMomentum(
        var=variable.handle,
        accum=accumulator.value.handle,
        lr=learning_rate,
        grad=add_l2(gradient, variable, l2),
        momentum=momentum,
        use_nesterov=nesterov,
    )


def _torch_momentum_step(
    variable: Any, accumulator: Any, gradient: Any, learning_rate: Any, momentum: float, nesterov: bool, l2: float
) -> None:
    import torch
    from torch.optim.sgd import sgd

    with torch.no_grad():
        sgd(
            [variable.value],
            [gradient.contiguous()],  # the fused kernel reads memory in the order in which it lies
            [accumulator.value],
            fused=True,
            lr=learning_rate,
            momentum=momentum,
            nesterov=nesterov,
            weight_decay=l2,
            dampening=0.0,
            maximize=False,
        )
