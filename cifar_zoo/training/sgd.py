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
        average_decay: None, or the decay of an exponential moving average of the weights, in [0, 1). In step t it is
            capped by (1 + t) / (10 + t), so that short runs do not remember their random start.
        **kwargs: those of `keras.optimizers.Optimizer`, such as `global_clipnorm`.

    Raises:
        ValueError: for a negative rate or l2, a momentum or decay outside [0, 1), or, when it is built, a path in `l2`
            that no variable has.
    """

    def __init__(
        self,
        learning_rate=0.1,
        momentum=0.9,
        nesterov=True,
        l2=0.0,
        average_decay=None,
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
        if average_decay is not None and not 0 <= average_decay < 1:
            raise ValueError(f"average_decay must be None or in [0, 1), not {average_decay}")
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.momentum = momentum
        self.nesterov = nesterov
        self.l2 = l2
        self.average_decay = average_decay

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        # Found here because the TensorFlow backend hands bare variables to `update_step`.
        self._factors = self._l2_factors(variables)
        self._momenta = self.add_optimizer_variables(variables, "momentum")
        self._averages = []
        if self.average_decay is not None:
            self._averages = self.add_optimizer_variables(variables, "average")

    def _l2_factors(self, variables):
        """The factor of each variable."""
        if not isinstance(self.l2, dict):
            return [self.l2 if len(variable.shape) > 1 else 0.0 for variable in variables]
        paths = [variable.path for variable in variables]
        for path in self.l2:
            if path not in paths:
                near = difflib.get_close_matches(path, paths, n=1, cutoff=0.0)
                raise ValueError(f"l2 has the path {path!r}, which no variable has; the nearest is {near[0]!r}")
        return [self.l2.get(path, 0.0) for path in paths]

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        gradient, rate = ops.cast(gradient, variable.dtype), ops.cast(learning_rate, variable.dtype)
        if keras.backend.backend() == "torch":
            self._torch_step(index, gradient, variable, rate)
        elif keras.backend.backend() == "tensorflow":
            self._tensorflow_step(index, gradient, variable, rate)
        else:
            self.assign(variable, variable - rate * self._direction(index, self._penalised(index, gradient, variable)))
        self._move_average(index, variable)

    def _penalised(self, index, gradient, variable):
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
            grad=self._penalised(index, gradient, variable),
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
        count = ops.cast(self.iterations, variable.dtype)
        share = 1 - ops.minimum(ops.cast(self.average_decay, variable.dtype), (1 + count) / (10 + count))
        if keras.backend.backend() == "torch":
            average.value.lerp_(variable.value.detach(), share)
        elif keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            tf.raw_ops.ResourceApplyGradientDescent(var=average.value.handle, alpha=share, delta=average - variable)
        else:
            self.assign(average, average + share * (variable - average))

    def averaged_weights(self):
        """The running averages, in the order of the trainable variables; None where none are kept."""
        return [keras.ops.convert_to_numpy(average) for average in self._averages] or None

    def get_config(self):
        own = {
            "momentum": self.momentum,
            "nesterov": self.nesterov,
            "l2": self.l2,
            "average_decay": self.average_decay,
        }
        return {**super().get_config(), **own}
