"""Keras' own callbacks in `fit_cifar10`, and what callbacks may do during a training."""

import keras
import numpy as np
import pytest
from keras import ops

import cifar_zoo
from cifar_zoo import Recipe, fit_cifar10
from cifar_zoo.training import clock
from cifar_zoo.training.trainer import BatchStatistics, Trainer

RANDOM = np.random.default_rng(0)
X, Y = RANDOM.integers(0, 256, (60, 8, 8, 3), dtype="uint8"), np.arange(60) % 10
DATA = ((X, Y), (X[:10], Y[:10]))
RECIPE = Recipe(epochs=4, batch_size=20, learning_rate=0.02, padding=0)


def small(momentum=0.9):
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(4, 3, name="convolution"),
            keras.layers.BatchNormalization(momentum=momentum, name="norm"),
            keras.layers.ReLU(),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(10),
        ],
        name="small",
    )


def fit(directory, *callbacks, model=None, recipe=RECIPE, **options):
    options = {"data": DATA, "holdout": 20, "run_dir": directory, "verbose": 0, **options}
    return fit_cifar10(model or small(), recipe, callbacks=callbacks, **options)


class Events(keras.callbacks.Callback):
    """Notes what it hears of, and ends a training in an exception at a step."""

    def __init__(self, stop_at=None):
        super().__init__()
        self.stop_at, self.events, self.epoch = stop_at, [], -1

    def on_train_begin(self, logs=None):
        self.events.append("begin")

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if self.stop_at == (self.epoch, batch):
            raise InterruptedError

    def on_epoch_end(self, epoch, logs=None):
        self.events.append(epoch)

    def on_train_end(self, logs=None):
        self.events.append("end")


def test_a_training_begins_and_ends_once(tmp_path, monkeypatch):
    """Also where it goes on within an epoch, which takes two calls of `fit`, and where the whitening bias is held."""
    monkeypatch.setattr(clock, "SYNC_SECONDS", 0.0)
    monkeypatch.setattr(clock, "CHECKPOINT_SECONDS", -1.0)
    recipe = RECIPE.with_(whitening_bias_epochs=2.0)

    def whitened():
        pixels = keras.Input((8, 8, 3))
        x = cifar_zoo.layers.PatchWhitening()(keras.layers.Rescaling(1 / 255)(pixels))
        return keras.Model(pixels, keras.layers.Dense(10)(keras.layers.GlobalAveragePooling2D()(x)), name="whitened")

    with pytest.raises(InterruptedError):
        fit(tmp_path, Events(stop_at=(1, 1)), model=whitened(), recipe=recipe)
    events = Events()
    assert fit(tmp_path, events, model=whitened(), recipe=recipe).finished
    assert events.events == ["begin", 1, 2, 3, "end"]


def test_early_stopping_knows_the_direction_of_an_accuracy(tmp_path):
    stop = keras.callbacks.EarlyStopping(monitor="val_accuracy", min_delta=1.0, patience=1)
    run = fit(tmp_path, stop)
    assert len(run.history) == 2 and stop.monitor_op is ops.greater


def test_early_stopping_keeps_its_state_where_a_training_goes_on_within_an_epoch(tmp_path, monkeypatch):
    monkeypatch.setattr(clock, "SYNC_SECONDS", 0.0)
    monkeypatch.setattr(clock, "CHECKPOINT_SECONDS", -1.0)
    with pytest.raises(InterruptedError):
        fit(tmp_path, Events(stop_at=(0, 1)))
    stop = keras.callbacks.EarlyStopping(monitor="val_loss", min_delta=100.0, patience=1)
    assert len(fit(tmp_path, stop).history) == 2  # the epoch of which half was left is the best one


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_what_model_checkpoint_saves_loads_into_the_network(tmp_path, precision):
    files = [str(tmp_path / name) for name in ("{epoch}.keras", "{epoch}.weights.h5")]
    noted = []

    class Note(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            noted.append([ops.convert_to_numpy(weight).copy() for weight in self.model.network.weights])

    callbacks = [keras.callbacks.ModelCheckpoint(file, save_weights_only="weights" in file) for file in files]
    run = fit(tmp_path / "run", *callbacks, Note(), precision=precision)
    assert len(run.history) == len(noted) == 4
    for epoch, weights in enumerate(noted, 1):
        whole = keras.saving.load_model(tmp_path / f"{epoch}.keras")
        assert {layer.compute_dtype for layer in whole.layers} == {"float32"}
        loaded = small()
        loaded.load_weights(tmp_path / f"{epoch}.weights.h5")
        for model in (whole, loaded):
            for found, expected in zip(model.get_weights(), weights, strict=True):
                np.testing.assert_array_equal(found, expected)


def test_the_best_weights_by_model_checkpoint_and_early_stopping(tmp_path):
    file = tmp_path / "best.weights.h5"
    best = keras.callbacks.ModelCheckpoint(file, "val_accuracy", save_best_only=True, save_weights_only=True)
    stop = keras.callbacks.EarlyStopping("val_accuracy", patience=0, restore_best_weights=True)
    run = fit(tmp_path / "run", best, stop, recipe=RECIPE.with_(ema_decay=None))
    model = small()
    model.load_weights(file)
    for found, expected in zip(run.model.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)  # rounded to float16 in the end


def test_terminate_on_nan_does_not_end_a_training_that_is_finite(tmp_path):
    assert fit(tmp_path, keras.callbacks.TerminateOnNaN()).finished


def test_predictions_in_a_training_leave_no_trace(tmp_path):
    """What a callback lets the network compute in bfloat16 is not what the network computes with afterwards."""
    found = []

    class Predict(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            found.append(self.model.network.predict(X, verbose=0))
            inner = self.model.network.layers[0]
            found.append(inner.predict(X, verbose=0))

    inner = small()
    model = keras.Sequential([keras.Input((8, 8, 3)), inner], name="outer")
    model.predict(X, verbose=0)  # compiled before, too
    fit(tmp_path, Predict(), model=model, precision="mixed_bfloat16")
    expected = ops.convert_to_numpy(inner(X, training=False))
    for network in (model, inner):
        np.testing.assert_allclose(network.predict(X, verbose=0), expected, atol=1e-6)
        assert network.layers[-1].compute_dtype == "float32"
    assert len(found) == 8


@pytest.mark.parametrize(
    "momentum", [0.9999, *(pytest.param(each, marks=pytest.mark.full) for each in (0.0, 0.9, 1.0))]
)
def test_batch_norm_statistics_do_not_depend_on_the_momentum(tmp_path, momentum):
    """They are the means of those of the batches: here, of the same three again and again."""
    run = fit(tmp_path, model=small(momentum), recipe=RECIPE.with_(flip=False), holdout=0, precision="float32")
    norm = run.model.get_layer("norm")
    assert norm.momentum == momentum
    features = ops.convert_to_numpy(keras.Model(run.model.inputs[0], norm.input)(X)).reshape(-1, 4)
    np.testing.assert_allclose(norm.moving_mean, features.mean(axis=0), rtol=0.02, atol=2e-3)
    np.testing.assert_allclose(norm.moving_variance, features.var(axis=0), rtol=0.1)


def test_the_average_of_batch_norm_statistics_is_cumulative():
    model = small()
    norm = model.get_layer("norm")
    norm.momentum = 1.0
    norm.moving_mean.assign([100.0] * 4)
    batches = [X[:10], X[10:20], X[20:30], X[30:40]]
    before = keras.Model(model.inputs[0], norm.input)
    features = [ops.convert_to_numpy(before(batch)).reshape(-1, 4) for batch in batches[:3]]
    BatchStatistics(Trainer(model, [], 0.0)).estimate(iter(batches), 3)
    np.testing.assert_allclose(norm.moving_mean, np.mean([f.mean(axis=0) for f in features], axis=0), atol=1e-5)
    np.testing.assert_allclose(norm.moving_variance, np.mean([f.var(axis=0) for f in features], axis=0), rtol=1e-4)
    assert norm.momentum == 1.0


def test_batch_norm_that_is_not_trained_keeps_its_statistics():
    model = small()
    norm = model.get_layer("norm")
    norm.trainable = False
    norm.moving_mean.assign([1.0, 2.0, 3.0, 4.0])
    BatchStatistics(Trainer(model, [], 0.0)).estimate(iter([X]), 1)
    np.testing.assert_array_equal(norm.moving_mean, [1.0, 2.0, 3.0, 4.0])
