"""Learning rates against their formulas and the check values of the paper's schedule."""

import keras
import numpy as np
import pytest

from cifar_zoo import Recipe, schedules
from cifar_zoo.training.fit import learning_rate

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


def test_serialisation():
    warm = schedules.WarmUp(schedules.TanhDecay(0.3, 50, -5.0, 2.0), 7)
    config = keras.saving.serialize_keras_object(warm)
    again = keras.saving.deserialize_keras_object(config)
    assert [float(again(i)) for i in range(0, 60, 7)] == [float(warm(i)) for i in range(0, 60, 7)]


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
