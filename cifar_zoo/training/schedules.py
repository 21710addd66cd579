"""Learning-rate schedules, by optimizer step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import keras
from keras import ops
from keras.optimizers.schedules import CosineDecay as CosineDecay
from keras.optimizers.schedules import LearningRateSchedule

from cifar_zoo.checks import check_not_negative, check_positive


@keras.saving.register_keras_serializable(package="cifar_zoo")
class TanhDecay(LearningRateSchedule):
    """Hyperbolic-tangent decay (Hsueh et al. 2019, arXiv:1806.01593).

    `initial / 2 * (1 - tanh(lower + (upper - lower) * step / decay_steps))`: nearly flat at first, half of the initial
    learning rate at two thirds of the steps for the default bounds, nearly zero at the end. It keeps its last value
    after `decay_steps`.

    Args:
        initial_learning_rate: Float, the learning rate at the start.
        decay_steps: Number of steps.
        lower, upper: Floats, the interval of the hyperbolic tangent that is used.

    Raises:
        ValueError: For a negative learning rate, a number of steps that is not positive, an upper bound that is not
            above the lower one, or a number that is not finite.

    Example:
        >>> from cifar_zoo import schedules
        >>> rate = schedules.TanhDecay(0.1, decay_steps=100)
        >>> [round(float(rate(step)), 4) for step in (0, 50, 100)]
        [0.1, 0.0953, 0.0002]
    """

    def __init__(
        self, initial_learning_rate: float, decay_steps: float, lower: float = -6.0, upper: float = 3.0
    ) -> None:
        check_not_negative("initial_learning_rate", initial_learning_rate)
        check_positive("decay_steps", decay_steps)
        if not -math.inf < lower < upper < math.inf:
            raise ValueError(f"lower must be below upper, not {lower} with upper={upper}")
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = decay_steps
        self.lower = lower
        self.upper = upper

    def __call__(self, step: Any) -> Any:
        progress = ops.minimum(ops.cast(step, "float32") / self.decay_steps, 1.0)
        return self.initial_learning_rate / 2 * (1 - ops.tanh(self.lower + (self.upper - self.lower) * progress))

    def get_config(self) -> dict[str, Any]:
        return {
            "initial_learning_rate": self.initial_learning_rate,
            "decay_steps": self.decay_steps,
            "lower": self.lower,
            "upper": self.upper,
        }


@keras.saving.register_keras_serializable(package="cifar_zoo")
class PiecewiseByEpoch(LearningRateSchedule):
    """Learning rates that change at the beginning of given epochs, counted from 0.

    Args:
        boundaries: Floats in ascending order, the epochs at which the learning rate changes.
        rates: Floats, one more than boundaries: `rates[i]` is the learning rate before the epoch `boundaries[i]`, and
            the last one is that of the rest.
        steps_per_epoch: Number of steps in an epoch.

    Raises:
        ValueError: For boundaries that are not positive and ascending, a wrong number of learning rates, a negative
            one, a number of steps that is not positive, or a number that is not finite.

    Example:
        >>> from cifar_zoo import schedules
        >>> rate = schedules.PiecewiseByEpoch((60, 120, 160), (0.1, 0.02, 0.004, 0.0008), steps_per_epoch=390)
        >>> [round(float(rate(epoch * 390)), 4) for epoch in (0, 59, 60, 120, 199)]
        [0.1, 0.1, 0.02, 0.004, 0.0008]
    """

    def __init__(self, boundaries: Sequence[float], rates: Sequence[float], steps_per_epoch: float) -> None:
        if not all(earlier < later < math.inf for earlier, later in pairwise((0, *boundaries))):
            raise ValueError(f"boundaries must be positive and rise, not {boundaries}")
        if len(rates) != len(boundaries) + 1:
            raise ValueError(f"rates must be one more than the {len(boundaries)} boundaries, not {rates}")
        for rate in rates:
            check_not_negative("rates", rate)
        check_positive("steps_per_epoch", steps_per_epoch)
        self.boundaries = tuple(boundaries)
        self.rates = tuple(rates)
        self.steps_per_epoch = steps_per_epoch

    def __call__(self, step: Any) -> Any:
        rate = ops.convert_to_tensor(self.rates[0], "float32")
        for boundary, later in zip(self.boundaries, self.rates[1:], strict=True):
            rate = ops.where(ops.cast(step, "float32") < boundary * self.steps_per_epoch, rate, later)
        return rate

    def get_config(self) -> dict[str, Any]:
        return {"boundaries": self.boundaries, "rates": self.rates, "steps_per_epoch": self.steps_per_epoch}


@keras.saving.register_keras_serializable(package="cifar_zoo")
class Triangular(LearningRateSchedule):
    """A linear rise, then a linear fall, as for very short trainings (Jordan 2024, arXiv:2404.00498).

    It keeps its last value after `total_steps`.

    Args:
        peak_learning_rate: Float, the learning rate at the peak.
        total_steps: Number of steps.
        peak: Float, the position of the peak as a fraction of the steps.
        start, end: Floats, the first and the last learning rate as fractions of the peak.

    Raises:
        ValueError: For a negative learning rate, start or end, a number of steps that is not positive, a peak outside
            (0, 1), or a number that is not finite.

    Example:
        >>> from cifar_zoo import schedules
        >>> rate = schedules.Triangular(0.1, total_steps=100)
        >>> [round(float(rate(step)), 4) for step in (0, 23, 100)]
        [0.02, 0.1, 0.007]
    """

    def __init__(
        self,
        peak_learning_rate: float,
        total_steps: float,
        peak: float = 0.23,
        start: float = 0.2,
        end: float = 0.07,
    ) -> None:
        check_not_negative("peak_learning_rate", peak_learning_rate)
        check_positive("total_steps", total_steps)
        if not 0 < peak < 1:
            raise ValueError(f"peak must be in (0, 1), not {peak}")
        check_not_negative("start", start)
        check_not_negative("end", end)
        self.peak_learning_rate = peak_learning_rate
        self.total_steps = total_steps
        self.peak = peak
        self.start = start
        self.end = end

    def __call__(self, step: Any) -> Any:
        progress = ops.minimum(ops.cast(step, "float32") / self.total_steps, 1.0)
        rise = self.start + (1 - self.start) * progress / self.peak
        fall = 1 - (1 - self.end) * (progress - self.peak) / (1 - self.peak)
        return self.peak_learning_rate * ops.where(progress < self.peak, rise, fall)

    def get_config(self) -> dict[str, Any]:
        return {
            "peak_learning_rate": self.peak_learning_rate,
            "total_steps": self.total_steps,
            "peak": self.peak,
            "start": self.start,
            "end": self.end,
        }


@keras.saving.register_keras_serializable(package="cifar_zoo")
class PowerRise(LearningRateSchedule):
    """A rise from 0 by a power of the progress, used for the decay of an EMA in Jordan 2024 (arXiv:2404.00498).

    It keeps its last value after `total_steps`.

    Args:
        end: Float, the last value.
        total_steps: Number of steps.
        power: Float, the exponent of the progress, which goes from 0 to 1.

    Raises:
        ValueError: For a negative end, a number of steps or a power that is not positive, or a number that is not
            finite.

    Example:
        >>> from cifar_zoo import schedules
        >>> decay = schedules.PowerRise(0.8, total_steps=100)
        >>> [round(float(decay(step)), 4) for step in (0, 50, 100, 200)]
        [0.0, 0.1, 0.8, 0.8]
    """

    def __init__(self, end: float, total_steps: float, power: float = 3.0) -> None:
        check_not_negative("end", end)
        check_positive("total_steps", total_steps)
        check_positive("power", power)
        self.end = end
        self.total_steps = total_steps
        self.power = power

    def __call__(self, step: Any) -> Any:
        progress = ops.minimum(ops.cast(step, "float32") / self.total_steps, 1.0)
        return self.end * progress**self.power

    def get_config(self) -> dict[str, Any]:
        return {"end": self.end, "total_steps": self.total_steps, "power": self.power}


@keras.saving.register_keras_serializable(package="cifar_zoo")
class WarmUp(LearningRateSchedule):
    """A linear warm-up before any schedule.

    Step i of the warm-up has the fraction `(i + 1) / warmup_steps` of the schedule's first learning rate, or with a
    start, the fraction `start + (1 - start) * i / warmup_steps`. The schedule itself is not shifted: the warm-up
    replaces its first steps.

    Args:
        schedule: A `LearningRateSchedule`.
        warmup_steps: Number of steps of the warm-up; 0 for none.
        start: None, or the fraction at which the warm-up begins, a float in [0, 1].

    Raises:
        ValueError: For a number of steps that is negative or not finite, or a start outside [0, 1].

    Example:
        >>> from cifar_zoo import schedules
        >>> rate = schedules.WarmUp(schedules.CosineDecay(0.1, 100), warmup_steps=4)
        >>> [round(float(rate(step)), 4) for step in (0, 1, 2, 3, 50)]
        [0.025, 0.05, 0.075, 0.1, 0.05]
    """

    def __init__(self, schedule: LearningRateSchedule, warmup_steps: float, start: float | None = None) -> None:
        check_not_negative("warmup_steps", warmup_steps)
        if start is not None and not 0 <= start <= 1:
            raise ValueError(f"start must be None or in [0, 1], not {start}")
        self.schedule = schedule
        self.warmup_steps = warmup_steps
        self.start = start

    def __call__(self, step: Any) -> Any:
        step = ops.cast(step, "float32")
        length = self.warmup_steps or 1
        part = (step + 1) / length if self.start is None else self.start + (1 - self.start) * step / length
        rise = self.schedule(0) * ops.minimum(part, 1.0)  # a rise of less than one step has no more than the whole
        return ops.where(step < self.warmup_steps, rise, self.schedule(step))

    def get_config(self) -> dict[str, Any]:
        return {
            "schedule": keras.saving.serialize_keras_object(self.schedule),
            "warmup_steps": self.warmup_steps,
            "start": self.start,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> WarmUp:
        return cls(**{**config, "schedule": keras.saving.deserialize_keras_object(config["schedule"])})


@keras.saving.register_keras_serializable(package="cifar_zoo")
class Staircase(LearningRateSchedule):
    """A schedule by epochs instead of steps: the learning rate is the same in all steps of an epoch.

    Args:
        schedule: A `LearningRateSchedule` whose steps are epochs.
        steps_per_epoch: Number of steps in an epoch.

    Raises:
        ValueError: For a number of steps that is not positive and finite.

    Example:
        >>> from cifar_zoo import schedules
        >>> rate = schedules.Staircase(schedules.TanhDecay(0.1, 100), steps_per_epoch=390)
        >>> [round(float(rate(step)), 4) for step in (0, 50 * 390, 51 * 390 - 1)]
        [0.1, 0.0953, 0.0953]
    """

    def __init__(self, schedule: LearningRateSchedule, steps_per_epoch: float) -> None:
        check_positive("steps_per_epoch", steps_per_epoch)
        self.schedule = schedule
        self.steps_per_epoch = steps_per_epoch

    def __call__(self, step: Any) -> Any:
        return self.schedule(ops.floor_divide(step, self.steps_per_epoch))

    def get_config(self) -> dict[str, Any]:
        return {
            "schedule": keras.saving.serialize_keras_object(self.schedule),
            "steps_per_epoch": self.steps_per_epoch,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Staircase:
        return cls(keras.saving.deserialize_keras_object(config["schedule"]), config["steps_per_epoch"])
