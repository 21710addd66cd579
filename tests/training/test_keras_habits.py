"""What people do with any Keras model, by `fit_cifar10(callbacks=...)` and by plain `fit` of a network."""

import csv

import keras
import numpy as np
import pytest
from keras import ops
from PIL import Image

import cifar_zoo
from cifar_zoo import CifarZooError, Recipe, fit_cifar10, layers
from cifar_zoo.training import clock

tf = pytest.importorskip("tensorflow")  # reads images and writes the logs of TensorBoard on every backend
RANDOM = np.random.default_rng(0)
X, Y = RANDOM.integers(0, 256, (60, 32, 32, 3), dtype="uint8"), np.arange(60) % 4
DATA = ((X, Y), (X[:8], Y[:8]))
RECIPE = Recipe(epochs=4, batch_size=20, learning_rate=0.02, padding=0)
CONSTANT = RECIPE.with_(schedule="constant", warmup_epochs=0.0)
NAMES = ("loss", "accuracy", "val_loss", "val_accuracy")


def small():
    """A network with layers of the zoo."""
    keras.utils.set_random_seed(0)
    pixels = keras.Input((32, 32, 3))
    x = layers.Conv2D(8, 3, 2)(keras.layers.Rescaling(1 / 255)(pixels))
    x = layers.SqueezeExcite(4)(layers.BatchNormalization()(x))
    x = keras.layers.Dense(4)(keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(x)))
    return keras.Model(pixels, x, name="small")


def by_fit_cifar10(folder, *callbacks, recipe=RECIPE):
    """The figures of each epoch of a training of the zoo."""
    run = fit_cifar10(
        small(), recipe, data=DATA, holdout=20, run_dir=folder / "run", callbacks=list(callbacks), verbose=0
    )
    return [{name: epoch[name] for name in (*NAMES, "learning_rate")} for epoch in run.history]


def by_fit(folder, *callbacks, learning_rate=0.02):
    """The figures of each epoch of a training of plain Keras."""
    model = small()
    model.compile(
        keras.optimizers.SGD(learning_rate),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    history = model.fit(
        X[:40], Y[:40], validation_data=(X[40:], Y[40:]), epochs=4, batch_size=20, callbacks=callbacks, verbose=0
    ).history
    return [{name: history[name][epoch] for name in NAMES} for epoch in range(len(history["loss"]))]


WAYS = pytest.mark.parametrize("train", [by_fit_cifar10, by_fit])


def assert_logged(found, history):
    """The figures of each epoch are those of the history."""
    assert len(found) == len(history) == 4
    for row, expected in zip(found, history, strict=True):
        for name in NAMES:
            assert float(row[name]) == pytest.approx(expected[name], rel=1e-5), name


@WAYS
def test_csv_logger(tmp_path, train):
    history = train(tmp_path, keras.callbacks.CSVLogger(str(tmp_path / "log.csv")))
    with (tmp_path / "log.csv").open() as file:
        assert_logged(list(csv.DictReader(file)), history)


@WAYS
def test_tensorboard(tmp_path, train):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    history = train(tmp_path, keras.callbacks.TensorBoard(str(tmp_path / "log"), histogram_freq=2, write_graph=False))
    found = [{} for _ in history]
    for part, prefix in (("train", ""), ("validation", "val_")):
        events = EventAccumulator(str(tmp_path / "log" / part))
        events.Reload()
        for tag in events.Tags()["tensors"]:
            if tag.startswith("epoch_"):
                for event in events.Tensors(tag):
                    found[event.step][prefix + tag.removeprefix("epoch_")] = float(tf.make_ndarray(event.tensor_proto))
    assert_logged(found, history)


@WAYS
def test_weights_and_biases(tmp_path, monkeypatch, train):
    wandb = pytest.importorskip("wandb")
    from wandb.integration.keras import WandbMetricsLogger

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    logged = []
    with wandb.init(project="cifar", dir=tmp_path) as session:
        log = session.log
        monkeypatch.setattr(session, "log", lambda values, **options: (logged.append(values), log(values, **options)))
        monkeypatch.setattr(wandb, "log", session.log)
        history = train(tmp_path, WandbMetricsLogger())
        summary = dict(session.summary)
    found = [{name.removeprefix("epoch/"): value for name, value in values.items()} for values in logged]
    assert_logged(found, history)
    assert summary["epoch/loss"] == found[-1]["loss"]
    assert list((tmp_path / "wandb").glob("offline-run-*"))


@WAYS
def test_mlflow(tmp_path, monkeypatch, train):
    pytest.importorskip("pandas")
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri((tmp_path / "mlruns").as_uri())
    with mlflow.start_run() as session:
        history = train(tmp_path, mlflow.keras.MlflowCallback(session))
        client = mlflow.MlflowClient()
        found = [{} for _ in history]
        for name in NAMES:
            for metric in client.get_metric_history(session.info.run_id, name):
                found[metric.step][name] = metric.value
    assert_logged(found, history)


@WAYS
def test_model_checkpoint_and_early_stopping(tmp_path, train):
    best = keras.callbacks.ModelCheckpoint(str(tmp_path / "best.keras"), "val_loss", save_best_only=True)
    stop = keras.callbacks.EarlyStopping("val_loss", min_delta=100.0, patience=1)
    history = train(tmp_path, best, stop)
    assert len(history) == 2
    network = keras.saving.load_model(tmp_path / "best.keras")
    scores = network.predict(X[40:], verbose=0).astype("float64")
    losses = np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(20), Y[40:]]
    assert losses.mean() == pytest.approx(min(epoch["val_loss"] for epoch in history), rel=0.02)  # bfloat16 in training


def reduce_on_plateau():
    return keras.callbacks.ReduceLROnPlateau("val_loss", factor=0.5, min_delta=100.0, patience=1)


@pytest.mark.parametrize(
    "make, rates",
    [
        (reduce_on_plateau, [0.02, 0.02, 0.01, 0.005]),
        (lambda: keras.callbacks.LearningRateScheduler(lambda epoch: 0.1 / (epoch + 1)), [0.1, 0.05, 0.1 / 3, 0.025]),
    ],
)
def test_callbacks_set_a_learning_rate_that_is_constant_otherwise(tmp_path, make, rates):
    history = by_fit_cifar10(tmp_path, make(), recipe=CONSTANT)
    assert [epoch["learning_rate"] for epoch in history] == pytest.approx(rates)
    noted = []
    note = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: None)
    note.on_epoch_end = lambda epoch, logs=None: noted.append(float(note.model.optimizer.learning_rate))
    by_fit(tmp_path, note, make())
    assert noted == pytest.approx(rates)


@pytest.mark.parametrize("moment", ["between epochs", pytest.param("within an epoch", marks=pytest.mark.full)])
def test_a_learning_rate_that_a_callback_has_set_is_resumed(tmp_path, monkeypatch, moment):
    """It is a part of the checkpoint, and the training goes on as one that was not interrupted."""

    class ThenSlowly(keras.callbacks.Callback):
        """Sets another learning rate after the first epoch, and interrupts the second one, maybe."""

        def __init__(self, interrupt):
            super().__init__()
            self.interrupt = interrupt

        def on_epoch_end(self, epoch, logs=None):
            if epoch == 0:
                self.model.optimizer.learning_rate = 0.001

        def on_train_batch_begin(self, batch, logs=None):
            step = int(self.model.optimizer.iterations)
            if self.interrupt and step == (3 if moment == "between epochs" else 5):
                raise InterruptedError

    def run(name, *callbacks):
        run = fit_cifar10(small(), CONSTANT, data=DATA, run_dir=tmp_path / name, callbacks=callbacks, verbose=0)
        return [epoch["learning_rate"] for epoch in run.history], run.model.get_weights()

    monkeypatch.setattr(clock, "SYNC_SECONDS", 0.0)
    monkeypatch.setattr(clock, "CHECKPOINT_SECONDS", -1.0)
    with pytest.raises(InterruptedError):
        run("resumed", ThenSlowly(interrupt=True))
    rates, resumed = run("resumed")
    assert rates == pytest.approx([0.02, 0.001, 0.001, 0.001])
    _, whole = run("whole", ThenSlowly(interrupt=False))
    _, constant = run("constant")
    for one, other, unchanged in zip(resumed, whole, constant, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.ndim < 2 or not np.array_equal(one, unchanged)


def test_reduce_lr_on_plateau_scales_the_rest_of_a_schedule(tmp_path):
    unchanged = [epoch["learning_rate"] for epoch in by_fit_cifar10(tmp_path / "1")]
    assert len(set(unchanged)) == 4
    reduced = [epoch["learning_rate"] for epoch in by_fit_cifar10(tmp_path / "2", reduce_on_plateau())]
    assert reduced == pytest.approx(np.multiply(unchanged, [1, 1, 0.5, 0.25]))


@pytest.mark.parametrize("recipe", [RECIPE, CONSTANT.with_(warmup_epochs=1.0)], ids=["cosine", "warm-up"])
def test_two_schedules_of_the_learning_rate_are_refused(tmp_path, recipe):
    message = "callbacks: LearningRateScheduler sets the learning rate, which follows the schedule of the recipe; set "
    with pytest.raises(CifarZooError, match=f"{message}schedule='constant' and warmup_epochs=0"):
        by_fit_cifar10(tmp_path, keras.callbacks.LearningRateScheduler(lambda epoch: 0.1), recipe=recipe)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("callbacks", [keras.callbacks.CSVLogger, [print], "csv", [None]], ids=str)
def test_what_is_no_callback_is_refused(tmp_path, callbacks):
    with pytest.raises(CifarZooError, match="callbacks must be instances of keras.callbacks.Callback, not "):
        fit_cifar10(small(), RECIPE, data=DATA, run_dir=tmp_path / "run", callbacks=callbacks)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("images")
    for number, (image, label) in enumerate(zip(X, Y, strict=True)):
        (path / "abcd"[label]).mkdir(exist_ok=True)
        Image.fromarray(image).save(path / "abcd"[label] / f"{number:02}.png")
    return path


def compiled(model=None):
    model = model or cifar_zoo.create_model("nin0", classes=4, classifier_activation=None)
    model.compile(
        keras.optimizers.SGD(0.05),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def test_image_dataset_from_directory(folder):
    """A network of the zoo takes the pixels as Keras reads them, and evaluates as on the arrays."""
    data = keras.utils.image_dataset_from_directory(
        folder, image_size=(32, 32), batch_size=20, shuffle=False, verbose=0
    )
    assert data.class_names == list("abcd")
    model = compiled(cifar_zoo.create_model("nin0", classes=4, input_shape=(32, 32, 3), classifier_activation=None))
    expected = model.evaluate(X, Y, verbose=0, return_dict=True)
    assert model.evaluate(data, verbose=0, return_dict=True) == pytest.approx(expected, rel=1e-5)
    history = model.fit(data, validation_data=data, epochs=2, shuffle=False, verbose=0).history
    assert history["val_loss"][-1] != pytest.approx(expected["loss"], rel=1e-4)
    assert cifar_zoo.evaluate(model, data)["loss"] == pytest.approx(history["val_loss"][-1], rel=1e-4)


@pytest.mark.parametrize(
    "dtype", ["uint8", "float32", *(pytest.param(each, marks=pytest.mark.full) for each in ("float64", "int32"))]
)
def test_tf_data(dtype):
    """Of any number type: the same step as with arrays."""
    data = tf.data.Dataset.from_tensor_slices((X.astype(dtype), Y)).batch(20)
    one, other = compiled(small()), compiled(small())
    one.fit(data, shuffle=False, verbose=0)
    other.fit(X, Y, batch_size=20, shuffle=False, verbose=0)
    for found, expected in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    assert cifar_zoo.evaluate(one, data)["loss"] == pytest.approx(cifar_zoo.evaluate(other, (X, Y))["loss"], rel=1e-4)


def test_class_weight_and_sample_weight():
    """A step with weights is one along the gradient of the weighted mean of the losses."""
    weights = {0: 0.0, 1: 1.0, 2: 2.0, 3: 5.0}
    each = np.array([weights[label] for label in Y], "float32")
    start = small().get_weights()
    by_class, by_sample, plain = compiled(small()), compiled(small()), compiled(small())
    by_class.fit(X, Y, batch_size=60, class_weight=weights, verbose=0)
    by_sample.fit(X, Y, sample_weight=each, batch_size=60, verbose=0)
    plain.fit(X, Y, batch_size=60, verbose=0)
    scores = np.asarray(ops.convert_to_numpy(small()(X, training=True)), "float64")
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    gradient = ((probabilities - np.eye(4)[Y]) * each[:, None]).mean(axis=0)  # of the last bias
    for model in (by_class, by_sample):
        np.testing.assert_allclose(model.get_weights()[-1], start[-1] - 0.05 * gradient, atol=1e-6)
    for one, other in zip(by_class.get_weights(), by_sample.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert not np.allclose(by_class.get_weights()[-1], plain.get_weights()[-1], atol=1e-4)
