"""What a training leaves as it was, and what around it must not disturb it."""

import os
import random
import signal
import sys
import threading

import keras
import numpy as np
import pytest
from keras import ops

from cifar_zoo import CifarZooError, Recipe, fit_cifar10

RANDOM = np.random.default_rng(0)
X, Y = RANDOM.integers(0, 256, (60, 8, 8, 3), dtype="uint8"), np.arange(60) % 10
DATA = ((X, Y), (X[:10], Y[:10]))
RECIPE = Recipe(epochs=2, batch_size=20, learning_rate=0.02, padding=0)


def small():
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(10),
        ],
        name="small",
    )


def fit(directory, *callbacks, **options):
    keras.utils.set_random_seed(0)
    options = {"data": DATA, "run_dir": directory, "verbose": 0, **options}
    return fit_cifar10(small(), options.pop("recipe", RECIPE), callbacks=callbacks, **options)


def draws():
    """The next numbers of all global generators."""
    numbers = [random.random(), np.random.uniform(), ops.convert_to_numpy(keras.random.uniform(())).item()]
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        numbers.append(tf.random.uniform(()).numpy().item())
    if keras.backend.backend() == "torch":
        import torch

        numbers.append(torch.rand(()).item())
    return numbers


class Fails(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        raise InterruptedError


@pytest.mark.parametrize("ending", ["finished", "an exception"])
def test_the_global_generators_go_on_as_if_there_had_been_no_training(tmp_path, ending):
    model = small()  # draws its seeds, too
    options = {"data": DATA, "run_dir": tmp_path, "verbose": 0}
    keras.utils.set_random_seed(123)
    draws()
    expected = draws()
    keras.utils.set_random_seed(123)
    draws()
    if ending == "finished":
        fit_cifar10(model, RECIPE, **options)
    else:
        with pytest.raises(InterruptedError):
            fit_cifar10(model, RECIPE, callbacks=[Fails()], **options)
    assert draws() == expected


def test_a_seed_gives_the_same_training_whatever_was_drawn_before(tmp_path):
    weights = []
    for name in ("one", "other"):
        draws()
        run = fit_cifar10("nin0", RECIPE, data=larger_images(), run_dir=tmp_path / name, verbose=0, epochs=1)
        weights.append(run.model.get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)


def larger_images():
    images = np.pad(X, ((0, 0), (12, 12), (12, 12), (0, 0)))
    return (images, Y), (images[:10], Y[:10])


def test_numpy_that_raises_does_not_end_a_training(tmp_path):
    with np.errstate(all="raise"):
        assert fit(tmp_path).finished
        assert np.geterr()["under"] == "raise"


@pytest.mark.parametrize("verbose", ["auto", 0, 1, 2])
def test_a_process_without_streams_can_train(tmp_path, monkeypatch, verbose):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert fit(tmp_path, verbose=verbose).finished


class Sends(keras.callbacks.Callback):
    """Sends signals to its own process before a step of the second epoch."""

    def __init__(self, *signals):
        super().__init__()
        self.signals, self.steps = signals, []

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        self.steps.append((self.epoch, batch))
        if (self.epoch, batch) == (1, 0):
            for number in self.signals:
                os.kill(os.getpid(), number)


@pytest.fixture
def handlers():
    """The signals have the handlers that Python begins with."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number, error", [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)])
def test_a_signal_ends_a_training_with_a_checkpoint(tmp_path, handlers, number, error):
    whole = fit(tmp_path / "whole")
    sends = Sends(number)
    with pytest.raises(error) as caught:
        fit(tmp_path / "run", sends)
    if number == signal.SIGTERM:
        assert caught.value.code == 143
    assert sends.steps == [(0, 0), (0, 1), (0, 2), (1, 0)]  # the step under way is the last one
    assert not (tmp_path / "run" / "run.lock").exists()
    rest = Sends()
    run = fit(tmp_path / "run", rest)
    assert rest.steps == [(1, 0), (1, 1)]  # those that are left, counted from the break
    for found, expected in zip(run.model.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_second_signal_ends_a_training_at_once(tmp_path, handlers):
    sends = Sends(signal.SIGTERM, signal.SIGTERM)
    with pytest.raises(SystemExit):
        fit(tmp_path, sends)
    assert sends.steps[-1] == (1, 0)


def test_handlers_of_others_and_other_threads_are_left_alone(tmp_path):
    heard = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        assert fit(tmp_path / "own", Sends(signal.SIGTERM)).finished
        assert heard == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)
    runs = []
    thread = threading.Thread(target=lambda: runs.append(fit(tmp_path / "thread")))
    thread.start()
    thread.join()
    assert runs[0].finished


@pytest.mark.parametrize(
    "options, message",
    [
        ({"max_minutes": float("nan")}, "max_minutes must be a finite number, not nan"),
        ({"max_minutes": float("inf")}, "max_minutes must be a finite number, not inf"),
        ({"max_minutes": np.float32("nan")}, "max_minutes must be a finite number, not nan"),
        ({"max_minutes": 1e19}, "max_minutes must be at most 10,000,000, not 1e\\+19; None is no limit"),
        ({"max_minutes": 0}, "max_minutes must be positive, not 0"),
        ({"max_minutes": True}, "max_minutes must be a number, not True"),
        ({"max_minutes": "1"}, "max_minutes must be a number, not '1'"),
        ({"seed": 1.0}, "seed must be an integer, not 1.0"),
        ({"seed": True}, "seed must be an integer, not True"),
        ({"seed": None}, "seed must be an integer, not None"),
        ({"epochs": True}, "epochs must be an integer or None, not True"),
        ({"epochs": 1.5}, "epochs must be an integer or None, not 1.5"),
        ({"batch_size": "20"}, "batch_size must be an integer or None, not '20'"),
        ({"examples": float("nan")}, "examples must be an integer or None, not nan"),
        ({"holdout": np.True_}, "holdout must be an integer, not "),
        ({"holdout": -1}, "holdout must be from 0 to 59, not -1"),
        ({"steps_per_execution": 1.0}, "steps_per_execution must be an integer, not 1.0"),
    ],
)
def test_numbers_that_are_none_are_refused(tmp_path, options, message):
    with pytest.raises(CifarZooError, match=message):
        fit(tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_numbers_of_numpy_are_numbers(tmp_path):
    numbers = {"seed": 3, "epochs": 1, "batch_size": 10, "examples": 30, "holdout": 20, "steps_per_execution": 1}
    run = fit(tmp_path, max_minutes=np.float64(10), **{name: np.int64(value) for name, value in numbers.items()})
    again = fit(tmp_path, **numbers)  # the same run: config.json has plain numbers
    assert again.metrics == run.metrics and run.metrics["epochs"] == 1


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_the_global_dtype_has_no_influence(tmp_path, dtype):
    config = keras.config
    expected = fit_cifar10("nin0", RECIPE, data=larger_images(), run_dir=tmp_path / "float32", verbose=0)
    before = config.floatx(), config.dtype_policy()
    try:
        config.set_floatx(dtype)
        config.set_dtype_policy(dtype)
        own = small()
        run = fit_cifar10("nin0", RECIPE, data=larger_images(), run_dir=tmp_path / dtype, verbose=0)
        assert (config.floatx(), config.dtype_policy().name) == (dtype, dtype)
        with pytest.raises(CifarZooError, match=f"kernel is {dtype}, and only float32 is trained"):
            fit_cifar10(own, RECIPE, data=DATA, run_dir=tmp_path / "own", verbose=0)
        assert (config.floatx(), config.dtype_policy().name) == (dtype, dtype)
    finally:
        config.set_floatx(before[0])
        config.set_dtype_policy(before[1])
    for found, wanted in zip(run.model.get_weights(), expected.model.get_weights(), strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert run.history[-1]["accuracy"] == expected.history[-1]["accuracy"]
