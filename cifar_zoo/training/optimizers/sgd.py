"""Stochastic gradient descent as the papers mean it."""

from __future__ import annotations

import difflib
import math
from typing import Any

import keras
import numpy as np
from keras import ops
from keras.optimizers.schedules import LearningRateSchedule

from cifar_zoo.backend.optimizer_steps import ema_step, momentum_step
from cifar_zoo.backend.values import to_numpy
from cifar_zoo.checks import check_not_negative


@keras.saving.register_keras_serializable(package="cifar_zoo")
class SGD(keras.optimizers.Optimizer):
    """SGD with momentum, coupled L2 on kernels, and an exponential moving average (EMA) of the weights.

    `g += l2 * w; m = momentum * m + g; w -= learning_rate * (g + momentum * m)`, the rule of `torch.optim.SGD` and the
    papers. Keras' own SGD differs in two ways: its `weight_decay` is decoupled, which is ten times weaker at momentum
    0.9, and its momentum contains the learning rate, so that the trajectory is another one after the learning rate has
    changed.

    The attribute `learning_rate` may be set at any time. If it follows a schedule, what is left of the schedule is
    scaled so that its current value is the given one.

    Args:
        learning_rate: Float or `LearningRateSchedule`.
        momentum: Float in [0, 1).
        nesterov: Boolean. Whether the momentum is Nesterov's.
        l2: Float, the factor of the penalty `l2 / 2 * sum(w ** 2)` on kernels, that is, on weights of two or more
            dimensions; or a dict from the paths of variables, such as "dense1/kernel", to their factors. Variables that
            are not in the dict have no penalty.
        ema_decay: None, or the decay of the EMA, a float in [0, 1). The EMA starts at the weights after the first step,
            as in `torch.optim.swa_utils` and Keras' `use_ema`. In step t, counted from 0, the decay is at most
            `(1 + t) / (10 + t)`, so that short runs do not remember their random start. A `LearningRateSchedule` gives
            the decay after so many steps, without that limit.
        lookahead: Integer. If it is not 0, the EMA starts at the weights before the first step and moves only after
            every so many steps, and the weights are then set to it (Zhang et al. 2019, arXiv:1907.08610).
        lr_multipliers: A dict from the paths of variables to their learning-rate multipliers: floats, or
            `LearningRateSchedule`s.
        keep_zeros: Boolean. Whether entries of kernels that are zero stay zero, so that a pruned network stays pruned.
        name: String.
        **kwargs: Arguments of `keras.optimizers.Optimizer`, such as `global_clipnorm`.

    Raises:
        ValueError: For a number that is not finite, a negative learning rate, l2 or learning-rate multiplier, a
            momentum or decay outside [0, 1), or a lookahead without an EMA; in `build`, for a path in `l2` or
            `lr_multipliers` that no variable has; and when `learning_rate` is set while its schedule is at 0.
    """

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.1,
        momentum: float = 0.9,
        nesterov: bool = True,
        l2: float | dict[str, float] = 0.0,
        ema_decay: float | LearningRateSchedule | None = None,
        lookahead: int = 0,
        lr_multipliers: dict[str, float | LearningRateSchedule] | None = None,
        keep_zeros: bool = False,
        name: str = "sgd",
        **kwargs: Any,
    ) -> None:
        if not callable(learning_rate):
            check_not_negative("learning_rate", learning_rate)
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), not {momentum}")
        for factor in l2.values() if isinstance(l2, dict) else [l2]:
            check_not_negative("l2", factor)
        if ema_decay is not None and not callable(ema_decay) and not 0 <= ema_decay < 1:
            raise ValueError(f"ema_decay must be None or in [0, 1), not {ema_decay}")
        if lookahead and (not 0 < lookahead < math.inf or ema_decay is None):
            raise ValueError(f"lookahead must be 0 or more, and 0 where ema_decay is None, not {lookahead}")
        for multiplier in (lr_multipliers or {}).values():
            if not callable(multiplier):
                check_not_negative("lr_multipliers", multiplier)
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.momentum = momentum
        self.nesterov = nesterov
        self.l2 = l2
        self.ema_decay: Any = ema_decay
        self.lookahead = lookahead
        self.lr_multipliers = lr_multipliers or {}
        self.keep_zeros = keep_zeros
        if isinstance(learning_rate, LearningRateSchedule):
            self._lr_scale = self.add_variable((), initializer="ones", name="lr_scale")

    @property
    def learning_rate(self) -> Any:
        """The learning rate of the next step."""
        return self._get_current_learning_rate()

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        if not isinstance(self._learning_rate, LearningRateSchedule):
            keras.optimizers.Optimizer.learning_rate.fset(self, value)
            return
        scheduled = float(self._learning_rate(self.iterations))
        if not scheduled:
            raise ValueError(f"the schedule of the learning rate is at 0, which no factor makes {value}")
        self._lr_scale.assign(float(value) / scheduled)

    def learning_rate_at(self, step: Any) -> Any:
        """The learning rate of a step, counted from 0, as far as it is known now."""
        if isinstance(self._learning_rate, LearningRateSchedule):
            return self._learning_rate(step) * self._lr_scale
        return super()._get_current_learning_rate()

    def _get_current_learning_rate(self) -> Any:
        return self.learning_rate_at(self.iterations)

    def build(self, variables: list[keras.Variable]) -> None:
        """Create the momentum and the EMA of every variable."""
        if self.built:
            return
        super().build(variables)
        # In lists, because the TensorFlow backend calls `update_step` with variables that have no path.
        self._l2 = self._per_variable("l2", variables, default=0.0)
        self._lr_multipliers = self._per_variable("lr_multipliers", variables, default=1.0)
        self._momenta = self.add_optimizer_variables(variables, "momentum")
        self._ema = self.add_optimizer_variables(variables, "ema") if self.ema_decay is not None else []

    def _per_variable(self, argument: str, variables: list[keras.Variable], default: float) -> list[Any]:
        """The values of an argument that is a dict by path or one value for all kernels, in the variables' order."""
        given = getattr(self, argument)
        if not isinstance(given, dict):
            return [given if len(variable.shape) > 1 else default for variable in variables]
        paths = [variable.path for variable in variables]
        for path in given:
            if path not in paths:
                near = difflib.get_close_matches(path, paths, n=1, cutoff=0.0)
                raise ValueError(f"{argument} has the path {path!r}, which no variable has; the nearest is {near[0]!r}")
        return [given.get(path, default) for path in paths]

    def apply(self, grads: list[Any], trainable_variables: list[keras.Variable] | None = None) -> Any:
        """Update variables by their gradients.

        Args:
            grads: A list of tensors.
            trainable_variables: The variables, in the order of the gradients; None for those of `build`.
        """
        # Once for all variables: on PyTorch a few scalar operations for each of them are a quarter of a step.
        self._fraction = self._ema_fraction() if self.ema_decay is not None else None
        try:
            return super().apply(grads, trainable_variables)
        finally:
            self._fraction = None  # it belongs to this step, and may belong to its graph

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable by its gradient."""
        index = self._get_variable_index(variable)
        self._start_lookahead(index, variable)
        kept = self._nonzero(variable)
        self._move(index, gradient, variable, learning_rate)
        if kept is not None:
            self.assign(variable, variable * kept)
        self._update_ema(index, variable)
        if kept is not None and self._ema:
            self._ema[index].assign(self._ema[index] * kept)

    def _nonzero(self, variable: Any) -> Any:
        """Before a step, the mask of the entries of a kernel that may change, or None for all."""
        if not self.keep_zeros or len(variable.shape) < 2:
            return None
        return ops.cast(ops.not_equal(ops.convert_to_tensor(variable), 0), variable.dtype)

    def _move(self, index: int, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Move one variable by its gradient."""
        momentum_step(
            variable,
            self._momenta[index],
            ops.cast(gradient, variable.dtype),
            self._variable_learning_rate(index, learning_rate, variable.dtype),
            momentum=self.momentum,
            nesterov=self.nesterov,
            l2=self._l2[index],
        )

    def _variable_learning_rate(self, index: int, learning_rate: Any, dtype: str) -> Any:
        """The learning rate of one variable in this step."""
        multiplier = self._lr_multipliers[index]
        if callable(multiplier):
            multiplier = multiplier(self.iterations)
        elif multiplier == 1:  # of nearly all variables: nothing to compute in a step
            return ops.cast(learning_rate, dtype)
        return ops.cast(learning_rate * multiplier, dtype)

    def _start_lookahead(self, index: int, variable: Any) -> None:
        """Before the first step, let the EMA of lookahead be the weights, which may have been loaded after `build`."""
        if self.lookahead:
            average = self._ema[index]
            average.assign(ops.where(self.iterations == 0, *map(ops.convert_to_tensor, (variable, average))))

    def _update_ema(self, index: int, variable: Any) -> None:
        """Update the EMA of a variable that has just been updated."""
        if not self._ema:
            return
        average = self._ema[index]
        ema_step(average, variable, ops.cast(self._fraction, variable.dtype))
        if self.lookahead:
            due = (self.iterations + 1) % self.lookahead == 0
            variable.assign(ops.where(due, *map(ops.convert_to_tensor, (average, variable))))

    def _ema_fraction(self) -> Any:
        """The fraction of the weights in the EMA of this step: 1 minus the decay, and 1 in the first step."""
        count = ops.cast(self.iterations, "float32")
        decay = self.ema_decay
        decay = decay(self.iterations + 1) if callable(decay) else ops.minimum(decay, (1 + count) / (10 + count))
        if self.lookahead:
            return ops.where((self.iterations + 1) % self.lookahead == 0, 1 - decay, 0.0)
        return ops.where(self.iterations == 0, 1.0, 1 - decay)

    def averaged_weights(self) -> list[np.ndarray] | None:
        """Return the EMA of each trainable variable, in their order, or None if there is no EMA.

        Before the first step these are the weights themselves.
        """
        if not self._ema:
            return None
        started = int(self.iterations) > 0
        return [to_numpy(variable) for variable in (self._ema if started else self._trainable_variables)]

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the optimizer as plain values."""
        serialize = keras.saving.serialize_keras_object
        own = {
            "momentum": self.momentum,
            "nesterov": self.nesterov,
            "l2": self.l2,
            "ema_decay": serialize(self.ema_decay),
            "lookahead": self.lookahead,
            "keep_zeros": self.keep_zeros,
            "lr_multipliers": {path: serialize(factor) for path, factor in self.lr_multipliers.items()},
        }
        return {**super().get_config(), **own}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> SGD:
        """Return the optimizer of a configuration."""
        revive = keras.saving.deserialize_keras_object
        config = dict(config)  # arguments with default values may be missing
        config["ema_decay"] = revive(config.get("ema_decay"))
        config["lr_multipliers"] = {path: revive(factor) for path, factor in config.get("lr_multipliers", {}).items()}
        return super().from_config(config, custom_objects=custom_objects)
