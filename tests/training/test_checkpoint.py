"""Checkpoints that do not belong to the run in whose directory they are."""

import json
import shutil

import keras
import numpy as np
import pytest

from cifar_zoo import CifarZooError, Recipe, fit_cifar10
from cifar_zoo.training import clock
from cifar_zoo.training.checkpoint import previous_checkpoint

RANDOM = np.random.default_rng(0)
X, Y = RANDOM.integers(0, 256, (60, 8, 8, 3), dtype="uint8"), np.arange(60) % 10
RECIPE = Recipe(epochs=2, batch_size=20, learning_rate=0.02, padding=0)


def small(activation="relu"):
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(4, 3, activation=activation),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(10),
        ],
        name="small",
    )


class BreakOff(Exception):  # noqa: N818
    pass


class BreaksOff(keras.callbacks.Callback):
    """Ends a training in an exception before its fifth step, in the second epoch."""

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if (self.epoch, batch) == (1, 2):
            raise BreakOff


def fit(directory, model=None, recipe=RECIPE, **options):
    data = ((X, Y), (X[:10], Y[:10]))
    return fit_cifar10(model or small(), recipe, data=data, run_dir=directory, verbose=0, **options)


def break_off(directory, *arguments, **options):
    with pytest.MonkeyPatch.context() as monkeypatch, pytest.raises(BreakOff):
        monkeypatch.setattr(clock, "CHECKPOINT_SECONDS", -1.0)
        monkeypatch.setattr(clock, "SYNC_SECONDS", 0.0)
        fit(directory, *arguments, callbacks=[BreaksOff()], **options)
    previous_checkpoint(directory / "checkpoint.npz").unlink()


@pytest.fixture(scope="module")
def broken_off(tmp_path_factory):
    directory = tmp_path_factory.mktemp("broken_off") / "run"
    break_off(directory)
    return directory


def refused(directory, reason):
    """A run is refused for its checkpoint, and the directory is as it was; nor is anything of the network changed."""
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    model = small()
    weights = model.get_weights()
    with pytest.raises(CifarZooError, match=f"checkpoint.npz cannot be read as a checkpoint .*{reason}"):
        fit(directory, model)
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before
    for now, then in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(now, then)


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"recipe": RECIPE.with_(learning_rate=0.01)},
        {"model": lambda: small("tanh")},
        {"examples": 40, "batch_size": 10},
    ],
    ids=["seed", "recipe", "network", "images"],
)
def test_a_checkpoint_of_another_run_is_refused(broken_off, tmp_path, other):
    other = {name: value() if callable(value) else value for name, value in other.items()}
    break_off(tmp_path / "other", **other)
    directory = shutil.copytree(broken_off, tmp_path / "run")
    shutil.copy(tmp_path / "other" / "checkpoint.npz", directory)
    refused(directory, "it belongs to another run")


def spoil(change):
    """A function that changes the state, or the arrays, of a checkpoint."""

    def write(file):
        with np.load(file) as stored:
            arrays = {name: stored[name] for name in stored.files}
        state = json.loads(arrays.pop("state").tobytes())
        change(state, arrays)
        np.savez(file, **arrays, state=np.frombuffer(json.dumps(state).encode(), dtype=np.uint8))

    return write


def drop_state(file):
    with np.load(file) as stored:
        arrays = {name: stored[name] for name in stored.files if name != "state"}
    np.savez(file, **arrays)


DAMAGES = {
    "no state": (drop_state, "it has no state"),
    "no seconds": (spoil(lambda state, _: state.pop("seconds")), "seconds"),
    "seconds": (spoil(lambda state, _: state.update(seconds="1")), "seconds"),
    "no history": (spoil(lambda state, _: state.pop("history")), "history"),
    "history": (spoil(lambda state, _: state.update(history=[])), "its history of 0 epochs does not match its 5 steps"),
    "a list": (spoil(lambda state, _: state.update(history=[[1.0]])), "history"),
    "no metrics": (spoil(lambda state, _: state.update(partial_metrics=None)), "it has no metrics"),
    "fewer metrics": (spoil(lambda state, _: state["partial_metrics"].pop()), "its metrics have the shapes"),
    "other metrics": (spoil(lambda state, _: state.update(partial_metrics=["x"] * 4)), "could not convert"),
    "a field more": (spoil(lambda state, _: state.update(more=1)), "more"),
    "much in little": (
        spoil(lambda _, arrays: arrays.update(variable_00000=np.zeros(10**6))),
        "variable_00000 has 8,000,128 bytes, more than the",
    ),
    "another type": (
        spoil(lambda _, arrays: arrays.update(variable_00000=arrays["variable_00000"].astype("float64"))),
        "variables do not match the",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_checkpoint_is_validated_whole(broken_off, tmp_path, damage):
    directory = shutil.copytree(broken_off, tmp_path / "run")
    change, reason = DAMAGES[damage]
    change(directory / "checkpoint.npz")
    refused(directory, reason)


def test_the_previous_checkpoint_takes_the_place_of_one_of_another_run(broken_off, tmp_path, caplog):
    whole = fit(tmp_path / "whole")
    break_off(tmp_path / "other", seed=1)
    directory = shutil.copytree(broken_off, tmp_path / "run")
    (directory / "checkpoint.npz").rename(directory / "checkpoint-previous.npz")
    shutil.copy(tmp_path / "other" / "checkpoint.npz", directory)
    run = fit(directory)
    assert run.finished and "it belongs to another run" in caplog.text
    assert len(run.history) == len(whole.history)
