"""Stochastic gradient descent as the papers mean it."""

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
        l2: factor of the penalty `l2 / 2 * sum(w ** 2)` on kernels, that is, on weights of two or more dimensions.
        average_decay: None, or the decay of an exponential moving average of the weights, in [0, 1). In step t it is
            capped by (1 + t) / (10 + t), so that short runs do not remember their random start.
        **kwargs: those of `keras.optimizers.Optimizer`, such as `global_clipnorm`.

    Raises:
        ValueError: for a negative rate or l2, or a momentum or decay outside [0, 1).
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
        if not l2 >= 0:
            raise ValueError(f"l2 must be 0 or more, not {l2}")
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
        # Kernels are told apart here because the TensorFlow backend hands bare variables to `update_step`.
        self._is_kernel = [len(variable.shape) > 1 for variable in variables]
        self._momenta = self.add_optimizer_variables(variables, "momentum")
        self._averages = []
        if self.average_decay is not None:
            self._averages = self.add_optimizer_variables(variables, "average")

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        gradient = ops.cast(gradient, variable.dtype)
        if self.l2 and self._is_kernel[index]:
            gradient = gradient + self.l2 * variable
        self._move(index, variable, learning_rate, self._direction(index, gradient))

    def _direction(self, index, gradient):
        """The gradient with momentum."""
        momentum = self._momenta[index] * self.momentum + gradient
        self.assign(self._momenta[index], momentum)
        return gradient + self.momentum * momentum if self.nesterov else momentum

    def _move(self, index, variable, rate, direction):
        """The step itself, and that of the average."""
        updated = variable - ops.cast(rate, variable.dtype) * direction
        self.assign(variable, updated)
        if self._averages:
            count = ops.cast(self.iterations, variable.dtype)
            decay = ops.minimum(ops.cast(self.average_decay, variable.dtype), (1 + count) / (10 + count))
            average = self._averages[index]
            self.assign(average, average + (1 - decay) * (updated - average))

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
