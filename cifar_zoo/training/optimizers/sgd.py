"""Stochastic gradient descent as the papers mean it."""

import difflib

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="cifar_zoo")
class SGD(keras.optimizers.Optimizer):
    """SGD with momentum, coupled L2 on kernels, and a running average of the weights.

    `g += l2 * w; m = momentum * m + g; w -= rate * (g + momentum * m)`, the rule of `torch.optim.SGD` and the papers.
    Keras' own SGD differs in two ways: its `weight_decay` is decoupled, which is ten times weaker at momentum 0.9, and
    its momentum holds the rate, which leaves this trajectory as soon as the rate changes.

    Args:
        learning_rate: float or LearningRateSchedule.
        momentum: float in [0, 1).
        nesterov: whether to look ahead.
        l2: factor of the penalty `l2 / 2 * sum(w ** 2)` on kernels, that is, on weights of two or more dimensions; or
            a dict from paths of variables, such as "dense1/kernel", to the factors of these, and none on others.
        ema_decay: None, or the decay of an exponential moving average of the weights, in [0, 1). In step t it is
            capped by (1 + t) / (10 + t), so that short runs do not remember their random start. Or a
            LearningRateSchedule, which gives the decay after so many steps.
        lookahead: 0, or a number of steps: the average moves only after so many of them, and the weights then go back
            to it (Zhang et al. 2019, arXiv:1907.08610).
        lr_multipliers: a dict from paths of variables to what their rate is multiplied by: numbers, or
            LearningRateSchedules.
        **kwargs: those of `keras.optimizers.Optimizer`, such as `global_clipnorm`.

    Raises:
        ValueError: for a negative rate or l2, a momentum or decay outside [0, 1), a lookahead without an average, or,
            when it is built, a path in `l2` or `lr_multipliers` that no variable has.
    """

    def __init__(
        self,
        learning_rate=0.1,
        momentum=0.9,
        nesterov=True,
        l2=0.0,
        ema_decay=None,
        lookahead=0,
        lr_multipliers=None,
        name="sgd",
        **kwargs,
    ):
        if isinstance(learning_rate, (int, float)) and not learning_rate >= 0:
            raise ValueError(f"learning_rate must be 0 or more, not {learning_rate}")
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), not {momentum}")
        for factor in l2.values() if isinstance(l2, dict) else [l2]:
            if not factor >= 0:
                raise ValueError(f"l2 must be 0 or more, not {factor}")
        if isinstance(ema_decay, (int, float)) and not 0 <= ema_decay < 1:
            raise ValueError(f"ema_decay must be None or in [0, 1), not {ema_decay}")
        if lookahead and (lookahead < 0 or ema_decay is None):
            raise ValueError(f"lookahead must be 0 or more, and 0 where ema_decay is None, not {lookahead}")
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.momentum = momentum
        self.nesterov = nesterov
        self.l2 = l2
        self.ema_decay = ema_decay
        self.lookahead = lookahead
        self.lr_multipliers = lr_multipliers or {}

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        # Found here because the TensorFlow backend hands bare variables to `update_step`.
        self._factors = self._of_each("l2", variables, 0.0)
        self._lr_multipliers = self._of_each("lr_multipliers", variables, 1.0)
        self._momenta = self.add_optimizer_variables(variables, "momentum")
        self._averages = []
        if self.ema_decay is not None:
            self._averages = self.add_optimizer_variables(variables, "average")
        if self.lookahead:
            for average, variable in zip(self._averages, variables, strict=True):
                average.assign(ops.copy(variable))  # a buffer of its own: the compiled step of JAX eats both

    def _of_each(self, argument, variables, other):
        """What an argument has for each variable, in order: a dict for the paths in it, a number for kernels."""
        given = getattr(self, argument)
        if not isinstance(given, dict):
            return [given if len(variable.shape) > 1 else other for variable in variables]
        paths = [variable.path for variable in variables]
        for path in given:
            if path not in paths:
                near = difflib.get_close_matches(path, paths, n=1, cutoff=0.0)
                raise ValueError(f"{argument} has the path {path!r}, which no variable has; the nearest is {near[0]!r}")
        return [given.get(path, other) for path in paths]

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        gradient, rate = ops.cast(gradient, variable.dtype), self._rate(index, learning_rate, variable.dtype)
        if keras.backend.backend() == "torch":
            self._torch_step(index, gradient, variable, rate)
        elif keras.backend.backend() == "tensorflow":
            self._tensorflow_step(index, gradient, variable, rate)
        else:
            self.assign(variable, variable - rate * self._direction(index, self._penalized(index, gradient, variable)))
        self._move_average(index, variable)

    def _rate(self, index, learning_rate, dtype):
        """The rate of one variable in this step."""
        factor = self._lr_multipliers[index]
        if callable(factor):
            factor = factor(self.iterations)
        elif factor == 1:  # of nearly all: nothing to compute in a step
            return ops.cast(learning_rate, dtype)
        return ops.cast(learning_rate * factor, dtype)

    def _penalized(self, index, gradient, variable):
        """The gradient with that of the penalty."""
        factor = self._factors[index]
        return gradient + factor * variable if factor else gradient

    def _direction(self, index, gradient):
        """The gradient with momentum."""
        momentum = self._momenta[index] * self.momentum + gradient
        self.assign(self._momenta[index], momentum)
        return gradient + self.momentum * momentum if self.nesterov else momentum

    def _tensorflow_step(self, index, gradient, variable, rate):
        import tensorflow as tf

        tf.raw_ops.ResourceApplyMomentum(
            var=variable.handle,
            accum=self._momenta[index].value.handle,
            lr=rate,
            grad=self._penalized(index, gradient, variable),
            momentum=self.momentum,
            use_nesterov=self.nesterov,
        )

    def _torch_step(self, index, gradient, variable, rate):
        import torch
        from torch.optim.sgd import sgd

        with torch.no_grad():
            sgd(
                [variable.value],
                [gradient.contiguous()],  # the fused kernel goes through memory as it lies
                [self._momenta[index].value],
                fused=True,
                lr=rate,
                momentum=self.momentum,
                nesterov=self.nesterov,
                weight_decay=self._factors[index],
                dampening=0.0,
                maximize=False,
            )

    def _move_average(self, index, variable):
        """Let the running average follow a weight that has just moved."""
        if not self._averages:
            return
        average = self._averages[index]
        share = ops.cast(1 - self._decay(), variable.dtype)
        if self.lookahead:
            due = (self.iterations + 1) % self.lookahead == 0
            share = ops.where(due, share, 0.0)
        if keras.backend.backend() == "torch":
            average.value.lerp_(variable.value.detach(), share)
        elif keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            tf.raw_ops.ResourceApplyGradientDescent(var=average.value.handle, alpha=share, delta=average - variable)
        else:
            self.assign(average, average + share * (variable - average))
        if self.lookahead:
            self.assign(variable, ops.where(due, *map(ops.convert_to_tensor, (average, variable))))

    def _decay(self):
        """The decay of the average in this step."""
        if callable(self.ema_decay):
            return self.ema_decay(self.iterations + 1)
        count = ops.cast(self.iterations, "float32")
        return ops.minimum(self.ema_decay, (1 + count) / (10 + count))

    def averaged_weights(self):
        """The running averages, in the order of the trainable variables; None where none are kept."""
        return [keras.ops.convert_to_numpy(average) for average in self._averages] or None

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        own = {
            "momentum": self.momentum,
            "nesterov": self.nesterov,
            "l2": self.l2,
            "ema_decay": serialize(self.ema_decay),
            "lookahead": self.lookahead,
            "lr_multipliers": {path: serialize(factor) for path, factor in self.lr_multipliers.items()},
        }
        return {**super().get_config(), **own}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """The optimizer of a configuration."""
        revive = keras.saving.deserialize_keras_object
        config = dict(config)  # which may lack what is by default, as that of an older file does
        config["ema_decay"] = revive(config.get("ema_decay"))
        config["lr_multipliers"] = {path: revive(factor) for path, factor in config.get("lr_multipliers", {}).items()}
        return super().from_config(config, custom_objects=custom_objects)
