"""Learning rates against their formulas and the check values of the paper's schedule."""

import json

import keras
import numpy as np
import pytest

from cifar_zoo import Recipe, schedules
from cifar_zoo.training.optimize import learning_rate

# rate at epoch e of 100 for an initial rate of 0.1, bounds -6 and 3
CHECK = {0: 0.099999, 10: 0.099996, 30: 0.099864, 50: 0.095257, 60: 0.076852, 66: 0.052996, 70: 0.035434, 80: 0.008317,
         90: 0.001477, 99: 0.000296}  # fmt: skip


@pytest.mark.parametrize("epoch, rate", CHECK.items())
def test_tanh_decay(epoch, rate):
    assert float(schedules.TanhDecay(0.1, 100)(epoch)) == pytest.approx(rate, abs=6e-7)
    assert float(schedules.TanhDecay(0.1, 39_000)(epoch * 390)) == pytest.approx(rate, abs=6e-7)


def test_tanh_decay_stays_at_its_end():
    decay = schedules.TanhDecay(0.1, 100)
    assert float(decay(100)) == float(decay(1000)) == pytest.approx(0.05 * (1 - np.tanh(3)), rel=1e-4)


def test_warm_up_replaces_the_first_steps():
    plain = schedules.TanhDecay(0.1, 100)
    warm = schedules.WarmUp(plain, 5)
    np.testing.assert_allclose([float(warm(i)) for i in range(5)], [0.02, 0.04, 0.06, 0.08, 0.1], rtol=1e-4)
    assert [float(warm(i)) for i in range(5, 100)] == [float(plain(i)) for i in range(5, 100)]
    none = schedules.WarmUp(plain, 0)
    assert float(none(0)) == float(plain(0))


def test_warm_up_from_a_start():
    plain = schedules.TanhDecay(0.05, 100)
    warm = schedules.WarmUp(plain, 4, start=0.2)
    np.testing.assert_allclose([float(warm(i)) for i in range(4)], [0.01, 0.02, 0.03, 0.04], rtol=1e-4)
    assert float(warm(4)) == float(plain(4))
    assert float(schedules.WarmUp(plain, 0.25)(0)) == float(plain(0))  # less than a step


def test_staircase():
    steps = schedules.Staircase(schedules.WarmUp(schedules.TanhDecay(0.1, 20), 3), 4)
    by_epoch = schedules.WarmUp(schedules.TanhDecay(0.1, 20), 3)
    assert [float(steps(step)) for step in range(40)] == [float(by_epoch(step // 4)) for step in range(40)]


def test_piecewise_by_epoch():
    piecewise = schedules.PiecewiseByEpoch((2, 3, 5.5), (0.1, 0.05, 0.01, 0.002), steps_per_epoch=4)
    found = [float(piecewise(step)) for step in range(30)]
    np.testing.assert_allclose(found, [0.1] * 8 + [0.05] * 4 + [0.01] * 10 + [0.002] * 8, rtol=1e-6)
    assert float(schedules.PiecewiseByEpoch((), (0.3,), 7)(100)) == pytest.approx(0.3)


def test_power_rise():
    rise = schedules.PowerRise(0.95**5, total_steps=480)
    found = [float(rise(step)) for step in (0, 5, 240, 480, 600)]
    np.testing.assert_allclose(found, [0, 0.7737809 / 96**3, 0.7737809 / 8, 0.7737809, 0.7737809], rtol=1e-5)


def test_triangular():
    total = 39
    triangular = schedules.Triangular(0.5, total)
    expected = 0.5 * np.interp(np.arange(total + 5), [0, 0.23 * total, total], [0.2, 1, 0.07])
    np.testing.assert_allclose([float(triangular(step)) for step in range(total + 5)], expected, rtol=1e-5)
    other = schedules.Triangular(2.0, 10, peak=0.5, start=0.0, end=1.0)
    np.testing.assert_allclose([float(other(step)) for step in (0, 2, 5, 9)], [0, 0.8, 2, 2], rtol=1e-6)


def test_cosine_decay_is_that_of_keras():
    assert schedules.CosineDecay is keras.optimizers.schedules.CosineDecay


@pytest.mark.parametrize(
    "schedule",
    [
        schedules.TanhDecay(0.3, 50, -5.0, 2.0),
        schedules.PiecewiseByEpoch((2, 6), (0.1, 0.05, 0.01), 5),
        schedules.Triangular(0.3, 50, 0.3, 0.1, 0.05),
        schedules.PowerRise(0.8, 50, 2.0),
        schedules.WarmUp(schedules.TanhDecay(0.3, 50, -5.0, 2.0), 7),
        schedules.WarmUp(schedules.TanhDecay(0.3, 50, -5.0, 2.0), 7, start=0.3),
        schedules.Staircase(schedules.TanhDecay(0.3, 10), 5),
    ],
)
def test_serialization(schedule):
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(schedule)))
    again = keras.saving.deserialize_keras_object(config)
    assert [float(again(i)) for i in range(0, 60, 7)] == [float(schedule(i)) for i in range(0, 60, 7)]


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: schedules.TanhDecay(-0.1, 10), "initial_learning_rate must be 0 or more, not -0.1"),
        (lambda: schedules.TanhDecay(0.1, 0), "decay_steps must be positive, not 0"),
        (lambda: schedules.TanhDecay(0.1, 10, 3, -6), "lower must be below upper, not 3"),
        (
            lambda: schedules.PiecewiseByEpoch((2, 2), (1, 2, 3), 5),
            r"boundaries must be positive and rise, not \(2, 2\)",
        ),
        (
            lambda: schedules.PiecewiseByEpoch((2, 3), (1, 2), 5),
            r"rates must be one more .* 2 boundaries, not \(1, 2\)",
        ),
        (lambda: schedules.PiecewiseByEpoch((2,), (1, -2), 5), "rates must be 0 or more, not -2"),
        (lambda: schedules.PiecewiseByEpoch((2,), (1, 2), 0), "steps_per_epoch must be positive, not 0"),
        (lambda: schedules.Triangular(-1, 10), "peak_learning_rate must be 0 or more, not -1"),
        (lambda: schedules.Triangular(1, 0), "total_steps must be positive, not 0"),
        (lambda: schedules.Triangular(1, 10, peak=1), r"peak must be in \(0, 1\), not 1"),
        (lambda: schedules.Triangular(1, 10, end=-0.1), "end must be 0 or more, not -0.1"),
        (lambda: schedules.PowerRise(-0.1, 10), "end must be 0 or more, not -0.1"),
        (lambda: schedules.PowerRise(0.1, 0), "total_steps must be positive, not 0"),
        (lambda: schedules.PowerRise(0.1, 10, 0), "power must be positive, not 0"),
        (lambda: schedules.WarmUp(schedules.TanhDecay(0.1, 10), -1), "warmup_steps must be 0 or more, not -1"),
        (lambda: schedules.WarmUp(schedules.TanhDecay(0.1, 10), 1, 2.0), r"start must be None or in \[0, 1\], not 2.0"),
        (lambda: schedules.Staircase(schedules.TanhDecay(0.1, 10), 0), "steps_per_epoch must be positive, not 0"),
    ],
)
def test_bad_values_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    "make",
    [
        lambda value: schedules.TanhDecay(value, 10),
        lambda value: schedules.TanhDecay(0.1, value),
        lambda value: schedules.TanhDecay(0.1, 10, lower=-value),
        lambda value: schedules.TanhDecay(0.1, 10, upper=value),
        lambda value: schedules.PiecewiseByEpoch((value,), (1, 2), 5),
        lambda value: schedules.PiecewiseByEpoch((2,), (1, value), 5),
        lambda value: schedules.PiecewiseByEpoch((2,), (1, 2), value),
        lambda value: schedules.Triangular(value, 10),
        lambda value: schedules.Triangular(1, value),
        lambda value: schedules.Triangular(1, 10, peak=value),
        lambda value: schedules.Triangular(1, 10, start=value),
        lambda value: schedules.Triangular(1, 10, end=value),
        lambda value: schedules.PowerRise(value, 10),
        lambda value: schedules.PowerRise(0.1, value),
        lambda value: schedules.PowerRise(0.1, 10, value),
        lambda value: schedules.WarmUp(schedules.TanhDecay(0.1, 10), value),
        lambda value: schedules.WarmUp(schedules.TanhDecay(0.1, 10), 1, value),
        lambda value: schedules.Staircase(schedules.TanhDecay(0.1, 10), value),
    ],
)
def test_numbers_that_are_not_finite_are_refused(make, value):
    with pytest.raises(ValueError, match=f"must be .*, not .*{value}"):
        make(value)


def test_the_rate_of_a_recipe():
    cosine = learning_rate(Recipe(epochs=10, learning_rate=0.2, warmup_epochs=2.0), steps=5)
    assert float(cosine(0)) == pytest.approx(0.02)
    assert float(cosine(9)) == pytest.approx(0.2)
    for step in (10, 25, 49):
        assert float(cosine(step)) == pytest.approx(0.1 * (1 + np.cos(np.pi * step / 50)), abs=1e-6)
    tanh = learning_rate(Recipe(epochs=10, learning_rate=0.2, warmup_epochs=0.0, schedule="tanh"), steps=5)
    assert float(tanh(33)) == pytest.approx(0.1 * (1 - np.tanh(-6 + 9 * 33 / 50)), abs=1e-6)
    short = learning_rate(Recipe(epochs=2, learning_rate=0.2, warmup_epochs=2.0), steps=8)
    assert float(short(3)) == pytest.approx(0.2)  # the warm-up takes at most a quarter


def test_the_piecewise_and_the_triangular_rate_of_a_recipe():
    recipe = Recipe(
        epochs=10,
        learning_rate=0.2,
        warmup_epochs=1.0,
        schedule="piecewise",
        decay_epochs=(4, 8),
        decay_factors=(0.5, 0.1),
    )
    piecewise = learning_rate(recipe, steps=5)
    found = [float(piecewise(step)) for step in range(50)]
    np.testing.assert_allclose(found, [0.04, 0.08, 0.12, 0.16] + [0.2] * 16 + [0.1] * 20 + [0.02] * 10, rtol=1e-6)
    triangular = learning_rate(Recipe(epochs=10, learning_rate=0.2, warmup_epochs=2.0, schedule="triangular"), steps=5)
    expected = 0.2 * np.interp(np.arange(50), [0, 0.23 * 50, 50], [0.2, 1, 0.07])
    np.testing.assert_allclose([float(triangular(step)) for step in range(50)], expected, rtol=1e-5)
