"""Learning-rate schedules, by optimiser step."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="cifar_zoo")
class TanhDecay(keras.optimizers.schedules.LearningRateSchedule):
    """Hyperbolic-tangent decay (Hsueh et al. 2019, arXiv:1806.01593).

    `rate(step) = initial / 2 * (1 - tanh(lower + (upper - lower) * step / decay_steps))`: nearly flat at first, half
    of the initial rate at two thirds of the way for the default bounds, nearly zero at the end. Stays at its last value
    after `decay_steps`.

    Args:
        initial_learning_rate: the rate at the start.
        decay_steps: number of steps.
        lower, upper: the stretch of the tangent that is used.
    """

    def __init__(self, initial_learning_rate, decay_steps, lower=-6.0, upper=3.0):
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = decay_steps
        self.lower = lower
        self.upper = upper

    def __call__(self, step):
        progress = ops.minimum(ops.cast(step, "float32") / self.decay_steps, 1.0)
        return self.initial_learning_rate / 2 * (1 - ops.tanh(self.lower + (self.upper - self.lower) * progress))

    def get_config(self):
        return {
            "initial_learning_rate": self.initial_learning_rate,
            "decay_steps": self.decay_steps,
            "lower": self.lower,
            "upper": self.upper,
        }


@keras.saving.register_keras_serializable(package="cifar_zoo")
class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """A linear rise in front of any schedule.

    Step i of the warm-up has the fraction `(i + 1) / warmup_steps` of the schedule's first rate. The schedule itself is
    not shifted: the warm-up replaces its first steps.

    Args:
        schedule: a LearningRateSchedule.
        warmup_steps: number of steps of the rise; 0 for none.
    """

    def __init__(self, schedule, warmup_steps):
        self.schedule = schedule
        self.warmup_steps = warmup_steps

    def __call__(self, step):
        step = ops.cast(step, "float32")
        rise = self.schedule(0) * (step + 1) / max(self.warmup_steps, 1)
        return ops.where(step < self.warmup_steps, rise, self.schedule(step))

    def get_config(self):
        return {
            "schedule": keras.saving.serialize_keras_object(self.schedule),
            "warmup_steps": self.warmup_steps,
        }

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config["schedule"]), config["warmup_steps"])
