"""Runs that are broken off: killed at any moment, or stopped for time."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
import types

import keras
import numpy as np
import pytest

from cifar_zoo import CifarZooError, Recipe, fit_cifar10, layers

EPOCHS = 4


def start(small_npz, directory, *more):
    command = [sys.executable, "-m", "cifar_zoo", "fit", "alex1", "--epochs", EPOCHS, "--seed", 7, "--batch-size", 20,
               "--run-dir", directory, "--data", small_npz, *more]  # fmt: skip
    return subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process):
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    return output


def contents(directory):
    """All that a run ends with but the times: the whole state of the training, and the file."""
    with np.load(directory / "checkpoint.npz") as file:
        state = {name: file[name] for name in file.files if name != "state"}
    history = [line.split(",")[:4] for line in (directory / "history.csv").read_text().splitlines()]
    return state, (directory / "model.weights.h5").read_bytes(), history


@pytest.fixture(scope="module")
def unbroken(small_npz, tmp_path_factory):
    directory = tmp_path_factory.mktemp("unbroken") / "run"
    finish(start(small_npz, directory))
    return directory


def assert_same(one, other):
    (state, _, history), (state_2, _, history_2) = contents(one), contents(other)
    assert state.keys() == state_2.keys()
    for name in state:
        np.testing.assert_array_equal(state[name], state_2[name])
    assert history == history_2
    metrics, metrics_2 = (json.loads((path / "metrics.json").read_text()) for path in (one, other))
    assert (metrics["test_correct"], metrics["test_loss"]) == (metrics_2["test_correct"], metrics_2["test_loss"])


def read(path):
    return path.read_text() if path.exists() else ""


def wait_for(process, condition, seconds=300):
    deadline = time.monotonic() + seconds
    while not condition() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)


def test_a_run_killed_three_times_ends_as_one_that_was_not(unbroken, small_npz, tmp_path):
    directory = tmp_path / "run"
    moments = [
        lambda: (directory / "config.json").exists(),  # before the first checkpoint
        lambda: (directory / "checkpoint.npz").exists(),  # while training
        lambda: "\n3," in read(directory / "history.csv"),  # late
    ]
    killed = 0
    for delay, moment in zip((0.0, 0.05, 0.0), moments, strict=True):
        process = start(small_npz, directory)
        wait_for(process, moment)
        time.sleep(delay)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
        process.communicate()
    assert killed == 3
    assert not (directory / "metrics.json").exists()
    finish(start(small_npz, directory))
    assert_same(directory, unbroken)


@pytest.mark.full
def test_killed_at_many_moments(unbroken, small_npz, tmp_path):
    """Every quarter of a second somewhere, in the middle of writing too."""
    directory = tmp_path / "run"
    random = np.random.default_rng(0)
    for _ in range(12):
        process = start(small_npz, directory)
        wait_for(process, lambda: False, seconds=float(random.uniform(4, 12)))
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    finish(start(small_npz, directory))
    assert_same(directory, unbroken)


def small_network(seed=0):
    """Batch norm, dropout and convolutions, with names and random generators that differ from call to call."""
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((24, 24, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(8, 3, 2, use_bias=False),
            layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.Dropout(0.3),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(10),
        ],
        name="small",
    )


@pytest.mark.parametrize(
    "change",
    [
        {},
        {
            "optimizer": "muon",
            "sam": 0.05,
            "mixup": 1.0,
            "alternating_flip": True,
            "rotation": 10.0,
            "brightness": 30.0,
        },
    ],
    ids=["plain", "everything"],
)
def test_a_run_stopped_for_time_within_an_epoch_ends_as_one_that_was_not(small_npz, tmp_path, monkeypatch, change):
    """Many short sessions by a clock that goes on by a second whenever it is read, about once a step of 55 an epoch."""
    recipe = Recipe(epochs=3, batch_size=10, learning_rate=0.02, padding=2, cutout=8, label_smoothing=0.1, **change)
    options = {"data": small_npz, "seed": 5, "verbose": 0, "holdout": 50}
    whole = fit_cifar10(small_network(), recipe, run_dir=tmp_path / "whole", **options)
    ticks = itertools.count()
    clock = types.SimpleNamespace(monotonic=lambda: float(next(ticks)))
    monkeypatch.setattr("cifar_zoo.training.fit.time", clock)
    monkeypatch.setattr("cifar_zoo.training.run.time", clock)
    partial = []
    run = None
    while run is None or not run.finished:
        assert len(partial) < 20
        network = small_network(seed=len(partial))  # only the first one's weights matter
        run = fit_cifar10(network, recipe, run_dir=tmp_path / "parts", max_minutes=0.7, **options)
        with np.load(tmp_path / "parts" / "checkpoint.npz") as file:
            partial.append(json.loads(file["state"].tobytes())["partial_metrics"] is not None)
    assert sum(partial) >= 3 and not partial[-1]
    assert_same(tmp_path / "parts", tmp_path / "whole")
    assert [row["loss"] for row in run.history] == [row["loss"] for row in whole.history]


def test_a_run_that_ended_between_the_checkpoint_and_the_rest_is_ended(small_npz, tmp_path):
    recipe = Recipe(epochs=1, batch_size=50)
    options = {"data": small_npz, "verbose": 0, "run_dir": tmp_path}
    whole = fit_cifar10(small_network(), recipe, **options)
    weights = whole.model.get_weights()
    for name in ("history.csv", "metrics.json", "model.weights.h5"):
        (tmp_path / name).unlink()
    again = fit_cifar10(small_network(), recipe, **options)
    assert again.history == whole.history == fit_cifar10(small_network(), recipe, **options).history
    for ours, theirs in zip(again.model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", ["config.json", "metrics.json"])
def test_damaged_files_of_a_run_are_refused(unbroken, small_npz, tmp_path, name):
    for file in unbroken.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / name).write_text("{")
    with pytest.raises(CifarZooError, match=f"{name}: cannot be read as JSON"):
        fit_cifar10("alex1", epochs=EPOCHS, seed=7, batch_size=20, data=small_npz, run_dir=tmp_path, verbose=0)


def test_the_time_is_kept(small_npz, tmp_path):
    started = time.monotonic()
    output = finish(start(small_npz, tmp_path, "--epochs", 1000, "--max-minutes", 0.15))
    assert "stopped for time after" in output
    assert (tmp_path / "checkpoint.npz").exists() and not (tmp_path / "metrics.json").exists()
    assert time.monotonic() - started < 50  # 9 s and the start of a process on a busy machine


def test_a_damaged_checkpoint_is_refused(unbroken, small_npz, tmp_path):
    directory = tmp_path / "run"
    directory.mkdir()
    (directory / "config.json").write_bytes((unbroken / "config.json").read_bytes())
    (directory / "checkpoint.npz").write_bytes((unbroken / "checkpoint.npz").read_bytes()[:5000])
    process = start(small_npz, directory)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 2
    assert "checkpoint.npz cannot be read as a checkpoint" in output and "Traceback" not in output
