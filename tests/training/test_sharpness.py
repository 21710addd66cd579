"""Sharpness-aware steps against their definition."""

import keras
import numpy as np
import pytest
from keras import ops

from cifar_zoo import Recipe, fit_cifar10, layers
from cifar_zoo.training.optimizers.sgd import SGD
from cifar_zoo.training.sharpness import SharpnessAwareTrainer
from cifar_zoo.training.trainer import Trainer

RANDOM = np.random.default_rng(0)
X = RANDOM.integers(0, 256, (16, 4, 4, 3), dtype="uint8")
Y = RANDOM.integers(0, 3, 16, dtype="uint8")


def linear():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [keras.Input((4, 4, 3)), keras.layers.Rescaling(1 / 255), keras.layers.Flatten(), keras.layers.Dense(3)]
    )


def slope(kernel, bias):
    """The gradient of the mean cross-entropy of `linear`."""
    x = X.reshape(16, -1) / 255
    powers = np.exp(x @ kernel + bias)
    error = powers / powers.sum(axis=1, keepdims=True) - np.eye(3)[Y]
    return x.T @ error / 16, error.mean(axis=0)


@pytest.mark.parametrize("adaptive", [False, True])
def test_a_step_is_that_of_the_definition(adaptive):
    network = linear()
    start = [value.astype("float64") for value in network.get_weights()]
    start[1] += 0.1
    network.set_weights(start)
    units = [np.abs(start[0]) + 0.01 if adaptive else 1.0, 1.0]
    scaled = [unit * gradient for unit, gradient in zip(units, slope(*start), strict=True)]
    norm = np.sqrt(sum((gradient**2).sum() for gradient in scaled))
    climbed = [w + 0.5 * unit * gradient / norm for w, unit, gradient in zip(start, units, scaled, strict=True)]
    expected = [w - 0.1 * gradient for w, gradient in zip(start, slope(*climbed), strict=True)]

    trainer = SharpnessAwareTrainer(network, [], 0.0, rho=0.5, adaptive=adaptive)
    trainer.compile(SGD(0.1, momentum=0.0, nesterov=False))
    history = trainer.fit(X, Y, batch_size=16, epochs=1, verbose=0).history
    for found, value in zip(network.get_weights(), expected, strict=True):
        np.testing.assert_allclose(found, value, rtol=1e-5, atol=1e-6)
    assert not np.allclose(expected[0], start[0] - 0.1 * slope(*start)[0], atol=1e-4)
    scores = X.reshape(16, -1) / 255 @ start[0] + start[1]
    losses = np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(16), Y]
    assert history["loss"] == [pytest.approx(losses.mean(), rel=1e-5)]
    assert history["accuracy"] == [pytest.approx((scores.argmax(axis=1) == Y).mean())]


def random_network(dropout_seed):
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((4, 4, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(6, 3),
            layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.5, seed=dropout_seed),
            keras.layers.Dense(3),
        ]
    )


def steps(kind, dropout_seed, **options):
    """Variables of a trainer with much that is random, after each of three steps."""
    network = random_network(dropout_seed)
    augmentation = [layers.AlternatingFlip(2, seed=3), layers.RandomCrop(4, 4, 1, seed=4)]
    trainer = kind(network, augmentation, 0.1, layers.Mixup(1.0, seed=5), **options)
    trainer.compile(SGD(0.1))
    trainer(X[:1])
    keras.utils.set_random_seed(2)
    values = []
    for _ in range(3):
        trainer.fit(X, Y, batch_size=16, epochs=1, verbose=0, shuffle=False)
        values.append({variable.path: ops.convert_to_numpy(variable) for variable in trainer.variables})
    return values, {variable.path for variable in trainer.trainable_variables}


@pytest.mark.parametrize("dropout_seed", [6, None])
def test_both_passes_see_the_same_and_the_first_one_counts(dropout_seed):
    """With a distance of nearly nothing all is as in plain steps; with a larger one, the state of the first step is."""
    plain, trainable = steps(Trainer, dropout_seed)
    near, _ = steps(SharpnessAwareTrainer, dropout_seed, rho=1e-7)
    far, _ = steps(SharpnessAwareTrainer, dropout_seed, rho=0.3)
    for i in range(3):
        for (path, value), other in zip(plain[i].items(), near[i].values(), strict=True):
            np.testing.assert_allclose(other, value, rtol=1e-3, atol=1e-4, err_msg=path)
    for (path, value), other in zip(plain[0].items(), far[0].values(), strict=True):
        if path in trainable and value.ndim > 1:
            assert not np.allclose(value, other, atol=1e-4), path
        elif path not in trainable:
            np.testing.assert_allclose(other, value, rtol=1e-6, err_msg=path)


@pytest.mark.parametrize("adaptive", [pytest.param(False, marks=pytest.mark.full), True])
def test_it_trains_by_a_recipe(small_npz, tmp_path, adaptive):
    recipe = Recipe(
        epochs=4, batch_size=50, learning_rate=0.05, sam=0.5 if adaptive else 0.05, adaptive_sam=adaptive, padding=2
    )
    run = fit_cifar10("nin0", recipe, data=small_npz, run_dir=tmp_path, verbose=0)
    losses = [row["loss"] for row in run.history]
    assert losses[-1] < losses[0]
