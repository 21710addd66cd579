"""Learning-rate schedules, by optimizer step."""

from itertools import pairwise

import keras
from keras import ops

CosineDecay = keras.optimizers.schedules.CosineDecay


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

    Raises:
        ValueError: for a negative rate, no steps, or an upper bound that is not above the lower one.

    Example:
        >>> from cifar_zoo import schedules
        >>> rate = schedules.TanhDecay(0.1, decay_steps=100)
        >>> [round(float(rate(step)), 4) for step in (0, 50, 100)]
        [0.1, 0.0953, 0.0002]
    """

    def __init__(self, initial_learning_rate, decay_steps, lower=-6.0, upper=3.0):
        _check_rate("initial_learning_rate", initial_learning_rate)
        if not decay_steps > 0:
            raise ValueError(f"decay_steps must be positive, not {decay_steps}")
        if not lower < upper:
            raise ValueError(f"lower must be below upper, not {lower} with upper={upper}")
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
class PiecewiseByEpoch(keras.optimizers.schedules.LearningRateSchedule):
    """Rates that change at the beginning of certain epochs, counted from 0.

    Args:
        boundaries: rising epochs at which the rate changes.
        rates: `rates[i]` holds before the epoch `boundaries[i]`, the last one to the end: one more than boundaries.
        steps_per_epoch: number of steps.

    Raises:
        ValueError: for boundaries that do not rise, another number of rates, a negative rate, or no steps.

    Example:
        >>> from cifar_zoo import schedules
        >>> rate = schedules.PiecewiseByEpoch((60, 120, 160), (0.1, 0.02, 0.004, 0.0008), steps_per_epoch=390)
        >>> [round(float(rate(epoch * 390)), 4) for epoch in (0, 59, 60, 120, 199)]
        [0.1, 0.1, 0.02, 0.004, 0.0008]
    """

    def __init__(self, boundaries, rates, steps_per_epoch):
        if any(later <= earlier for earlier, later in pairwise((0, *boundaries))):
            raise ValueError(f"boundaries must be positive and rise, not {boundaries}")
        if len(rates) != len(boundaries) + 1:
            raise ValueError(f"rates must be one more than the {len(boundaries)} boundaries, not {rates}")
        for rate in rates:
            _check_rate("rates", rate)
        if not steps_per_epoch > 0:
            raise ValueError(f"steps_per_epoch must be positive, not {steps_per_epoch}")
        self.boundaries = tuple(boundaries)
        self.rates = tuple(rates)
        self.steps_per_epoch = steps_per_epoch

    def __call__(self, step):
        rate = ops.convert_to_tensor(self.rates[0], "float32")
        for boundary, later in zip(self.boundaries, self.rates[1:], strict=True):
            rate = ops.where(ops.cast(step, "float32") < boundary * self.steps_per_epoch, rate, later)
        return rate

    def get_config(self):
        return {"boundaries": self.boundaries, "rates": self.rates, "steps_per_epoch": self.steps_per_epoch}


@keras.saving.register_keras_serializable(package="cifar_zoo")
class Triangular(keras.optimizers.schedules.LearningRateSchedule):
    """A linear rise, then a linear fall, as for very short trainings (Jordan 2024, arXiv:2404.00498).

    Stays at its last value after `total_steps`.

    Args:
        peak_learning_rate: the rate at the peak.
        total_steps: number of steps.
        peak: where the peak is, as a fraction of the steps.
        start, end: fractions of the rate with which it begins and ends.

    Raises:
        ValueError: for a negative rate, no steps, a peak outside (0, 1), or a negative start or end.

    Example:
        >>> from cifar_zoo import schedules
        >>> rate = schedules.Triangular(0.1, total_steps=100)
        >>> [round(float(rate(step)), 4) for step in (0, 23, 100)]
        [0.02, 0.1, 0.007]
    """

    def __init__(self, peak_learning_rate, total_steps, peak=0.23, start=0.2, end=0.07):
        _check_rate("peak_learning_rate", peak_learning_rate)
        if not total_steps > 0:
            raise ValueError(f"total_steps must be positive, not {total_steps}")
        if not 0 < peak < 1:
            raise ValueError(f"peak must be in (0, 1), not {peak}")
        _check_rate("start", start)
        _check_rate("end", end)
        self.peak_learning_rate = peak_learning_rate
        self.total_steps = total_steps
        self.peak = peak
        self.start = start
        self.end = end

    def __call__(self, step):
        progress = ops.minimum(ops.cast(step, "float32") / self.total_steps, 1.0)
        rise = self.start + (1 - self.start) * progress / self.peak
        fall = 1 - (1 - self.end) * (progress - self.peak) / (1 - self.peak)
        return self.peak_learning_rate * ops.where(progress < self.peak, rise, fall)

    def get_config(self):
        return {
            "peak_learning_rate": self.peak_learning_rate,
            "total_steps": self.total_steps,
            "peak": self.peak,
            "start": self.start,
            "end": self.end,
        }


@keras.saving.register_keras_serializable(package="cifar_zoo")
class PowerRise(keras.optimizers.schedules.LearningRateSchedule):
    """A rise from 0 with a power of the progress, as of the average's decay in Jordan 2024 (arXiv:2404.00498).

    Stays at its last value after `total_steps`.

    Args:
        end: the last value.
        total_steps: number of steps.
        power: of the progress.

    Raises:
        ValueError: for a negative end, no steps, or a power that is not positive.

    Example:
        >>> from cifar_zoo import schedules
        >>> decay = schedules.PowerRise(0.8, total_steps=100)
        >>> [round(float(decay(step)), 4) for step in (0, 50, 100, 200)]
        [0.0, 0.1, 0.8, 0.8]
    """

    def __init__(self, end, total_steps, power=3.0):
        _check_rate("end", end)
        if not total_steps > 0:
            raise ValueError(f"total_steps must be positive, not {total_steps}")
        if not power > 0:
            raise ValueError(f"power must be positive, not {power}")
        self.end = end
        self.total_steps = total_steps
        self.power = power

    def __call__(self, step):
        progress = ops.minimum(ops.cast(step, "float32") / self.total_steps, 1.0)
        return self.end * progress**self.power

    def get_config(self):
        return {"end": self.end, "total_steps": self.total_steps, "power": self.power}


@keras.saving.register_keras_serializable(package="cifar_zoo")
class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """A linear rise in front of any schedule.

    Step i of the warm-up has the fraction `(i + 1) / warmup_steps` of the schedule's first rate, or, with a start, the
    fraction `start + (1 - start) * i / warmup_steps`. The schedule itself is not shifted: the warm-up replaces its
    first steps.

    Args:
        schedule: a LearningRateSchedule.
        warmup_steps: number of steps of the rise; 0 for none.
        start: None, or the fraction with which the rise begins, in [0, 1].

    Raises:
        ValueError: for a negative number of steps, or a start outside [0, 1].

    Example:
        >>> from cifar_zoo import schedules
        >>> rate = schedules.WarmUp(schedules.CosineDecay(0.1, 100), warmup_steps=4)
        >>> [round(float(rate(step)), 4) for step in (0, 1, 2, 3, 50)]
        [0.025, 0.05, 0.075, 0.1, 0.05]
    """

    def __init__(self, schedule, warmup_steps, start=None):
        if not warmup_steps >= 0:
            raise ValueError(f"warmup_steps must be 0 or more, not {warmup_steps}")
        if start is not None and not 0 <= start <= 1:
            raise ValueError(f"start must be None or in [0, 1], not {start}")
        self.schedule = schedule
        self.warmup_steps = warmup_steps
        self.start = start

    def __call__(self, step):
        step = ops.cast(step, "float32")
        length = self.warmup_steps or 1
        part = (step + 1) / length if self.start is None else self.start + (1 - self.start) * step / length
        rise = self.schedule(0) * ops.minimum(part, 1.0)  # a rise of less than one step has no more than the whole
        return ops.where(step < self.warmup_steps, rise, self.schedule(step))

    def get_config(self):
        return {
            "schedule": keras.saving.serialize_keras_object(self.schedule),
            "warmup_steps": self.warmup_steps,
            "start": self.start,
        }

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "schedule": keras.saving.deserialize_keras_object(config["schedule"])})


@keras.saving.register_keras_serializable(package="cifar_zoo")
class Staircase(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule of epochs in place of steps: the rate stays the same for a whole epoch.

    Args:
        schedule: a LearningRateSchedule whose steps are epochs.
        steps_per_epoch: number of steps.

    Raises:
        ValueError: for no steps.

    Example:
        >>> from cifar_zoo import schedules
        >>> rate = schedules.Staircase(schedules.TanhDecay(0.1, 100), steps_per_epoch=390)
        >>> [round(float(rate(step)), 4) for step in (0, 50 * 390, 51 * 390 - 1)]
        [0.1, 0.0953, 0.0953]
    """

    def __init__(self, schedule, steps_per_epoch):
        if not steps_per_epoch > 0:
            raise ValueError(f"steps_per_epoch must be positive, not {steps_per_epoch}")
        self.schedule = schedule
        self.steps_per_epoch = steps_per_epoch

    def __call__(self, step):
        return self.schedule(ops.floor_divide(step, self.steps_per_epoch))

    def get_config(self):
        return {
            "schedule": keras.saving.serialize_keras_object(self.schedule),
            "steps_per_epoch": self.steps_per_epoch,
        }

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config["schedule"]), config["steps_per_epoch"])


def _check_rate(name, value):
    if not value >= 0:
        raise ValueError(f"{name} must be 0 or more, not {value}")
