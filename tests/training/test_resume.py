"""Interrupted runs: killed at any moment, stopped by a time limit, with a damaged checkpoint or a full disk."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import types

import h5py
import keras
import numpy as np
import pytest

from cifar_zoo import CifarZooError, Recipe, fit_cifar10, layers
from cifar_zoo.training import clock as clock_module
from cifar_zoo.training.checkpoint import load_checkpoint, save_checkpoint
from cifar_zoo.training.clock import Clock
from cifar_zoo.training.run import RunDirectory

EPOCHS = 4
STEPS = 30  # of 20 images, an epoch

# Goes on with the same run as `start`, has checkpoints written before the steps of a list, and ends itself somewhere.
DRIVER = """
import json, math, os, signal, sys
import keras
from cifar_zoo import fit_cifar10
from cifar_zoo.training import clock

data, directory, epochs, save_at, moment, number = sys.argv[1:]
save_at, number = json.loads(save_at), int(number)
clock.SYNC_SECONDS = 0.0  # before every step
signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores it


class Driver(keras.callbacks.Callback):
    async_safe = True
    step = -1

    def on_epoch_begin(self, epoch, logs=None):
        self.first_step = int(self.model.optimizer.iterations)
        self.plan(self.first_step)

    def on_train_batch_begin(self, batch, logs=None):  # after that of the run, which writes the checkpoints
        self.step = self.first_step + batch
        self.plan(self.step + 1)
        if self.step == number and moment in ("SIGKILL", "SIGINT"):
            os.kill(os.getpid(), getattr(signal, moment))

    def plan(self, step):
        clock.CHECKPOINT_SECONDS = -1.0 if step in save_at else math.inf

    def on_epoch_end(self, epoch, logs=None):
        if moment == "epoch" and epoch == number:
            os.kill(os.getpid(), signal.SIGKILL)


driver = Driver()


def watch(event, details):
    if (moment, event, driver.step) == ("move", "os.rename", number) and str(details[1]).endswith("checkpoint.npz"):
        os.kill(os.getpid(), signal.SIGKILL)


sys.addaudithook(watch)
fit_cifar10(
    "alex1", epochs=int(epochs), seed=7, batch_size=20, data=data, run_dir=directory, verbose=0, callbacks=[driver]
)
"""


# Starts what follows with files limited to so many bytes. Writing more fails as on a full disk, but for the reason.
LIMITED = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
os.execv(sys.argv[2], sys.argv[2:])
"""


def start(small_npz, directory, *more, file_size=None):
    command = [sys.executable, "-m", "cifar_zoo", "fit", "alex1", "--epochs", EPOCHS, "--seed", 7, "--batch-size", 20,
               "--run-dir", directory, "--data", small_npz, *more]  # fmt: skip
    if file_size is not None:
        pytest.importorskip("resource")  # not on Windows
        command = [sys.executable, "-c", LIMITED, file_size, *command]
    return popen(command)


@pytest.fixture
def drive(python, small_npz):
    """Go on with a run until it ends itself; returns how."""

    def run(directory, save_at, moment, number):
        done = python("-c", DRIVER, small_npz, directory, EPOCHS, list(save_at), moment, number)
        assert done.returncode < 0, done.stdout + done.stderr
        return -done.returncode

    return run


def popen(command):
    return subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process):
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    return output


def checkpoint(file):
    """The arrays of a checkpoint, its state, and the number of steps."""
    with np.load(file) as arrays:
        arrays = {name: arrays[name] for name in arrays.files}
    state = json.loads(arrays.pop("state").tobytes())
    return arrays, state, max(int(value) for value in arrays.values() if value.shape == () and value.dtype.kind == "i")


def files(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def contents(directory):
    """All that a run ends with but the times."""
    weights = {}
    with h5py.File(directory / "model.weights.h5") as file:
        file.visititems(lambda name, item: weights.update({name: item[()]} if isinstance(item, h5py.Dataset) else {}))
    metrics = json.loads((directory / "metrics.json").read_text())
    history = [line.split(",")[:4] for line in (directory / "history.csv").read_text().splitlines()]
    return weights, (metrics["test_correct"], metrics["test_loss"]), history


@pytest.fixture(scope="module")
def unbroken(small_npz, tmp_path_factory):
    directory = tmp_path_factory.mktemp("unbroken") / "run"
    finish(start(small_npz, directory))
    return directory


def assert_same(one, other, checkpoints=True):
    (weights, metrics, history), (weights_2, metrics_2, history_2) = contents(one), contents(other)
    assert len(weights) > 0 and weights.keys() == weights_2.keys()
    for name in weights:
        np.testing.assert_array_equal(weights[name], weights_2[name])
    assert (metrics, history) == (metrics_2, history_2)
    if checkpoints:  # the whole state of the training
        (state, _, _), (state_2, _, _) = (checkpoint(path / "checkpoint.npz") for path in (one, other))
        assert state.keys() == state_2.keys()
        for name in state:
            np.testing.assert_array_equal(state[name], state_2[name])


def test_a_run_killed_three_times_ends_as_one_that_was_not(drive, unbroken, small_npz, tmp_path):
    """Within an epoch, at the end of one, and while a checkpoint takes the place of the one before."""
    directory = tmp_path / "run"
    assert drive(directory, [3, 7], "SIGKILL", 12) == signal.SIGKILL
    _, state, step = checkpoint(directory / "checkpoint.npz")
    assert step == 7 and len(state["partial_metrics"]) > 0 and state["history"] == []
    assert checkpoint(directory / "checkpoint-previous.npz")[2] == 3

    assert drive(directory, [], "epoch", 1) == signal.SIGKILL
    assert checkpoint(directory / "checkpoint.npz")[2] in (STEPS, 2 * STEPS)  # the second one if it was worth it

    assert drive(directory, [65, 70], "move", 69) == signal.SIGKILL
    assert len([name for name in files(directory) if name.startswith(".checkpoint.npz.")]) == 1
    assert "checkpoint-previous.npz" in files(directory)
    assert not (directory / "checkpoint.npz").exists()
    assert checkpoint(directory / "checkpoint-previous.npz")[2] == 65

    finish(start(small_npz, directory))
    assert_same(directory, unbroken)
    assert files(directory).keys() == files(unbroken).keys()


@pytest.mark.full
def test_ctrl_c_loses_nothing(drive, unbroken, small_npz, tmp_path):
    directory = tmp_path / "run"
    assert drive(directory, [], "SIGINT", 40) == signal.SIGINT
    assert checkpoint(directory / "checkpoint.npz")[2] == 41  # after the step that was under way
    output = finish(start(small_npz, directory))
    assert "epoch 1/" not in output and "epoch 2/4" in output
    assert_same(directory, unbroken)


@pytest.mark.full
def test_killed_at_many_moments(unbroken, small_npz, tmp_path):
    """Somewhere in up to eight seconds of training with a checkpoint before every step."""
    directory = tmp_path / "run"
    random = np.random.default_rng(0)
    for _ in range(20):
        process = popen([sys.executable, "-c", DRIVER, small_npz, directory, EPOCHS, list(range(120)), "never", 0])
        deadline = time.monotonic() + float(random.uniform(4, 12))
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
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


class SlowSteps(keras.callbacks.Callback):
    """A clock by which a step takes a second, and nothing else takes any time."""

    async_safe = True

    def __init__(self, monkeypatch):
        super().__init__()
        self.now = 0.0
        clock = types.SimpleNamespace(monotonic=lambda: self.now)
        monkeypatch.setattr("cifar_zoo.training.fit.time", clock)
        monkeypatch.setattr(clock_module, "time", clock)

    def on_train_batch_begin(self, batch, logs=None):
        self.now += 1.0


@pytest.mark.parametrize(
    "change",
    [
        {},
        pytest.param(
            {
                "optimizer": "muon",
                "sam": 0.05,
                "mixup": 1.0,
                "alternating_flip": True,
                "rotation": 10.0,
                "brightness": 30.0,
            },
            marks=pytest.mark.full,
        ),
    ],
    ids=["plain", "everything"],
)
def test_a_run_stopped_for_time_within_an_epoch_ends_as_one_that_was_not(small_npz, tmp_path, monkeypatch, change):
    """Sessions of 40 steps, of 55 an epoch and a second each, with a checkpoint before every step."""
    recipe = Recipe(epochs=3, batch_size=10, learning_rate=0.02, padding=2, cutout=8, label_smoothing=0.1, **change)
    options = {"data": small_npz, "seed": 5, "verbose": 0, "holdout": 50, "evaluate_test": True}
    whole = fit_cifar10(small_network(), recipe, run_dir=tmp_path / "whole", **options)
    clock = SlowSteps(monkeypatch)
    monkeypatch.setattr(clock_module, "CHECKPOINT_SECONDS", -1.0)
    partial = []
    run = None
    while run is None or not run.finished:
        assert len(partial) < 8
        network = small_network(seed=len(partial))  # only the first one's weights matter
        parts = {"run_dir": tmp_path / "parts", "max_minutes": 0.7, "callbacks": [clock]}
        run = fit_cifar10(network, recipe, **parts, **options)
        partial.append(checkpoint(tmp_path / "parts" / "checkpoint.npz")[1]["partial_metrics"] is not None)
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
    assert "stopped by --max-minutes after" in output
    assert (tmp_path / "checkpoint.npz").exists() and not (tmp_path / "metrics.json").exists()
    assert time.monotonic() - started < 50  # 9 s and the start of a process on a busy machine


class BreakOff(Exception):  # noqa: N818
    pass


class BreaksOff(keras.callbacks.Callback):
    """Ends a training in an exception at a batch of its first epoch."""

    async_safe = True

    def __init__(self, batch):
        super().__init__()
        self.batch = batch

    def on_train_batch_begin(self, batch, logs=None):
        if batch == self.batch:
            raise BreakOff


SMALL = Recipe(epochs=2, batch_size=50, learning_rate=0.02)  # 12 steps an epoch


@pytest.fixture(scope="module")
def broken_off(small_npz, tmp_path_factory):
    """A run that was broken off at step 9 with checkpoints at steps 8 and 9, and the same one unbroken."""
    folder = tmp_path_factory.mktemp("broken_off")
    options = {"data": small_npz, "verbose": 0}
    with pytest.MonkeyPatch.context() as monkeypatch, pytest.raises(BreakOff):
        monkeypatch.setattr(clock_module, "CHECKPOINT_SECONDS", -1.0)
        monkeypatch.setattr(clock_module, "SYNC_SECONDS", 0.0)
        fit_cifar10(small_network(), SMALL, run_dir=folder / "part", callbacks=[BreaksOff(9)], **options)
    fit_cifar10(small_network(), SMALL, run_dir=folder / "whole", **options)
    assert checkpoint(folder / "part" / "checkpoint.npz")[2] == 9
    assert checkpoint(folder / "part" / "checkpoint-previous.npz")[2] == 8
    return folder


def flip(data, place):
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


DAMAGES = {
    "empty": lambda data: b"",
    "truncated": lambda data: data[: len(data) // 2],
    "one byte too short": lambda data: data[:-1],
    "a bit of an array": lambda data: flip(data, 700),
    "a bit of the state": lambda data: flip(data, data.index(b'"history"') + 3),
    "zeros at the end": lambda data: data[: len(data) // 2] + bytes(len(data) - len(data) // 2),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_checkpoint_before_takes_the_place_of_a_damaged_one(broken_off, small_npz, tmp_path, caplog, damage):
    directory = tmp_path / "run"
    shutil.copytree(broken_off / "part", directory)
    newest = directory / "checkpoint.npz"
    newest.write_bytes(DAMAGES[damage](newest.read_bytes()))
    fit_cifar10(small_network(), SMALL, run_dir=directory, data=small_npz, verbose=0)
    (record,) = [record.message for record in caplog.records if record.name.startswith("cifar_zoo")]
    assert f"{newest} cannot be read as a checkpoint" in record and "resumes from checkpoint-previous.npz" in record
    assert_same(directory, broken_off / "whole")


def test_a_damaged_checkpoint_never_takes_the_place_of_a_whole_one(broken_off, small_npz, tmp_path):
    """The first checkpoint after going on with the one before is broken off half way: there is one to go on with."""
    directory = tmp_path / "run"
    shutil.copytree(broken_off / "part", directory)
    whole = (directory / "checkpoint-previous.npz").read_bytes()
    (directory / "checkpoint.npz").write_bytes(b"")
    with pytest.raises(BreakOff):
        fit_cifar10(small_network(), SMALL, run_dir=directory, data=small_npz, verbose=0, callbacks=[BreaksOff(0)])
    assert whole in files(directory).values()
    (directory / "checkpoint.npz").rename(directory / "checkpoint-previous.npz")  # as far as the move may have come
    fit_cifar10(small_network(), SMALL, run_dir=directory, data=small_npz, verbose=0)
    assert_same(directory, broken_off / "whole")


def test_two_damaged_checkpoints_are_refused_and_left_alone(broken_off, small_npz, tmp_path):
    directory = tmp_path / "run"
    shutil.copytree(broken_off / "part", directory)
    for name in ("checkpoint.npz", "checkpoint-previous.npz"):
        (directory / name).write_bytes((directory / name).read_bytes()[:5000])
    before = files(directory)
    with pytest.raises(CifarZooError) as caught:
        fit_cifar10(small_network(), SMALL, run_dir=directory, data=small_npz, verbose=0)
    for name in ("checkpoint.npz", "checkpoint-previous.npz"):
        assert f"{directory / name} cannot be read as a checkpoint" in str(caught.value)
    assert "choose another run directory" in str(caught.value)
    assert files(directory) == before


def test_the_command_says_in_one_line_what_it_does_about_a_damaged_checkpoint(unbroken, small_npz, tmp_path):
    directory = tmp_path / "run"
    directory.mkdir()
    (directory / "config.json").write_bytes((unbroken / "config.json").read_bytes())
    (directory / "checkpoint-previous.npz").write_bytes((unbroken / "checkpoint.npz").read_bytes())
    (directory / "checkpoint.npz").write_bytes((unbroken / "checkpoint.npz").read_bytes()[:5000])
    output = finish(start(small_npz, directory))
    (line,) = [line for line in output.splitlines() if "checkpoint" in line]
    assert line.startswith(str(directory / "checkpoint.npz")) and "resumes from checkpoint-previous.npz" in line
    assert len(output.splitlines()) == 2  # the other one has the accuracy
    assert_same(directory, unbroken)


def test_no_damaged_byte_goes_unnoticed(tmp_path):
    path = tmp_path / "checkpoint.npz"
    values = [np.arange(6, dtype="float32").reshape(2, 3), np.float32(0.5), np.arange(2, dtype="uint32")]
    state = {"history": [{"epoch": 1, "loss": 1.25}], "seconds": 2.5, "partial_metrics": [0.75]}
    save_checkpoint(path, [keras.Variable(value, dtype=value.dtype, trainable=False) for value in values], state)
    whole = path.read_bytes()
    refused = 0
    variables = [keras.Variable(np.zeros_like(value), dtype=value.dtype, trainable=False) for value in values]
    for place in range(len(whole)):
        for mask in (1 << place % 8, 255):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ mask]) + whole[place + 1 :])
            try:
                found = load_checkpoint(path, variables)
            except CifarZooError:
                refused += 1
                continue
            assert found == state, place  # the byte has no meaning, as those of a date
            for variable, value in zip(variables, values, strict=True):
                np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), value)
    assert refused > len(whole)
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(CifarZooError, match="cannot be read as a checkpoint"):
            load_checkpoint(path, variables)


def lines_about(output, word):
    return [line for line in output.splitlines() if word in line]


@pytest.mark.full
def test_a_checkpoint_that_finds_no_room_ends_no_training(unbroken, small_npz, tmp_path):
    directory = tmp_path / "run"
    output = finish(start(small_npz, directory, file_size=(unbroken / "checkpoint.npz").stat().st_size // 2))
    (line,) = lines_about(output, "checkpoint.npz")
    assert "File too large" in line and "MB" in line and "training continues" in line
    assert files(directory).keys() == {"config.json", "history.csv", "metrics.json", "model.weights.h5"}
    assert_same(directory, unbroken, checkpoints=False)


@pytest.mark.full
def test_where_the_weights_find_no_room_the_same_command_ends_the_run_later(drive, unbroken, small_npz, tmp_path):
    directory = tmp_path / "run"
    drive(directory, [90, 95], "SIGKILL", 97)
    before = files(directory)
    del before["run.lock"]  # which the killed process could not remove
    process = start(small_npz, directory, file_size=20_000)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 2 and "Traceback" not in output
    assert len(lines_about(output, "checkpoint.npz")) == 1
    assert output.splitlines()[-1].startswith("cifar-zoo: training is complete, but its results cannot be written")
    after = files(directory)
    assert after.pop("history.csv") != before.pop("history.csv") and after == before  # the earlier checkpoints, whole
    assert "epoch 4/4" in finish(start(small_npz, directory))
    assert_same(directory, unbroken)


def test_a_full_disk(unbroken, small_npz, tmp_path):
    """A file system with room for one checkpoint and the weights, but not for a second checkpoint."""
    size = (unbroken / "checkpoint.npz").stat().st_size * 3 // 2
    disk, copy = tmp_path / "disk", tmp_path / "copy"
    script = f"""
        mount -t tmpfs -o size={size} none {disk} || exit 99
        {sys.executable} -m cifar_zoo fit alex1 --epochs {EPOCHS} --seed 7 --batch-size 20 --data {small_npz} \\
            --run-dir {disk}/run
        code=$?
        cp -r {disk}/run {copy}
        exit $code
    """
    disk.mkdir()
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare")
    process = popen(["unshare", "-rm", "sh", "-c", textwrap.dedent(script)])
    output, _ = process.communicate(timeout=600)
    if "unshare:" in output or process.returncode == 99:
        pytest.skip(f"no file system can be mounted here: {output}")
    assert process.returncode == 0, output
    (line,) = lines_about(output, "checkpoint.npz")
    assert "No space left on device" in line
    assert files(copy).keys() == files(unbroken).keys()
    assert checkpoint(copy / "checkpoint.npz")[2] == STEPS
    assert_same(copy, unbroken, checkpoints=False)


class MakesRoom(keras.callbacks.Callback):
    """Has the disk full for checkpoints until a batch begins."""

    async_safe = True

    def __init__(self, monkeypatch, batch):
        super().__init__()
        self.full, self.batch = True, batch
        savez = np.savez

        def fill_up(*args, **arrays):
            if self.full:
                raise OSError(28, "No space left on device")
            savez(*args, **arrays)

        monkeypatch.setattr(np, "savez", fill_up)

    def on_train_batch_begin(self, batch, logs=None):
        if batch == self.batch:
            self.full = False


@pytest.mark.full
def test_writing_is_tried_again(small_npz, broken_off, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(clock_module, "CHECKPOINT_SECONDS", -1.0)
    monkeypatch.setattr(clock_module, "SYNC_SECONDS", 0.0)
    directory = tmp_path / "run"
    callbacks = [MakesRoom(monkeypatch, 6), BreaksOff(8)]
    with pytest.raises(BreakOff):
        fit_cifar10(small_network(), SMALL, run_dir=directory, data=small_npz, verbose=0, callbacks=callbacks)
    (record,) = [record.message for record in caplog.records if record.name.startswith("cifar_zoo")]
    assert "checkpoint.npz" in record and "training continues" in record
    assert checkpoint(directory / "checkpoint-previous.npz")[2] == 7  # the first one for which there was room
    fit_cifar10(small_network(), SMALL, run_dir=directory, data=small_npz, verbose=0)
    assert_same(directory, broken_off / "whole")


def test_a_loss_that_is_not_finite_is_not_kept(small_npz, tmp_path, monkeypatch):
    """It is found before a checkpoint is written, in the middle of the epoch."""
    monkeypatch.setattr(clock_module, "CHECKPOINT_SECONDS", -1.0)
    monkeypatch.setattr(clock_module, "SYNC_SECONDS", 0.0)
    recipe = SMALL.with_(learning_rate=1e6, warmup_epochs=0.0)
    ended = []
    callback = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: ended.append(epoch))
    with pytest.raises(CifarZooError, match="the loss is (nan|inf) in epoch 1; lower the recipe's learning_rate"):
        fit_cifar10(small_network(), recipe, run_dir=tmp_path, data=small_npz, verbose=0, callbacks=[callback])
    assert ended == []
    _, state, step = checkpoint(tmp_path / "checkpoint.npz")
    assert 0 < step < 12 and np.isfinite(state["partial_metrics"]).all()


def test_a_run_that_stops_for_time_says_that_it_could_not_be_kept(small_npz, tmp_path, monkeypatch):
    callbacks = [MakesRoom(monkeypatch, 999), SlowSteps(monkeypatch)]
    with pytest.raises(CifarZooError, match=r"checkpoint\.npz'; the same command resumes from the previous checkpoint"):
        fit_cifar10(
            small_network(), SMALL, run_dir=tmp_path / "run", data=small_npz, verbose=0, callbacks=callbacks,
            max_minutes=0.1,
        )  # fmt: skip


def test_a_run_of_an_older_version_goes_on(tmp_path):
    config = {"model": "small", "recipe": Recipe(cutout=8).to_dict(), "seed": 0}
    RunDirectory(tmp_path, config, resume=True)
    stored = json.loads((tmp_path / "config.json").read_text())
    del stored["recipe"]["cutmix"], stored["recipe"]["schedule"]  # which it had not, and both are at their defaults
    (tmp_path / "config.json").write_text(json.dumps(stored))
    RunDirectory(tmp_path, config, resume=True)
    for recipe, message in [
        (Recipe(cutout=8, cutmix=1.0), r"recipe = \{'cutmix': 0.0\}, not \{'cutmix': 1.0\}"),
        (Recipe(), r"recipe = \{'cutout': 8\}, not \{'cutout': 0\}"),
    ]:
        with pytest.raises(CifarZooError, match=message):
            RunDirectory(tmp_path, {**config, "recipe": recipe.to_dict()}, resume=True)
    stored["recipe"]["color"] = 1.0  # of a newer version
    (tmp_path / "config.json").write_text(json.dumps(stored))
    with pytest.raises(CifarZooError, match=r"recipe = \{'color': 1.0\}, not"):
        RunDirectory(tmp_path, config, resume=True)


class Simulation:
    """A training by a made-up clock: what it costs to wait for the device, and when it writes checkpoints."""

    def __init__(self, monkeypatch, step_seconds, steps, epochs, checkpoint_seconds, deadline=np.inf):
        self.now = 0.0
        monkeypatch.setattr(clock_module, "time", types.SimpleNamespace(monotonic=lambda: self.now))
        clock = Clock(deadline)
        self.syncs, self.epoch_checkpoints, self.checkpoints = 0, 0, [0.0]

        def save():
            self.checkpoints.append(self.now)
            with clock.writing_checkpoint():
                self.now += checkpoint_seconds

        for step in range(epochs * steps):
            if step % steps == 0:
                clock.start(step)
            if clock.sync_is_due(step):
                self.syncs += 1
                clock.synced(step)
                if clock.time_is_up:
                    return
                if clock.checkpoint_is_due():
                    save()
            self.now += step_seconds
            if (step + 1) % steps == 0:
                clock.synced(step + 1)
                if clock.checkpoint_is_due(epoch_ends=True):
                    self.epoch_checkpoints += 1
                    save()


@pytest.mark.parametrize(
    "step_seconds, steps, epochs, checkpoint_seconds",
    [(0.002, 390, 300, 0.01), (0.01, 390, 60, 1.0), (0.01, 390, 300, 0.2), (5.0, 390, 2, 1.0), (0.002, 500_000, 1, 1)],
    ids=["tiny", "large on a GPU", "small on a GPU", "slow", "one long epoch"],
)
def test_checkpoints_are_seldom_two_minutes_apart_and_cost_little(
    monkeypatch, step_seconds, steps, epochs, checkpoint_seconds
):
    training = Simulation(monkeypatch, step_seconds, steps, epochs, checkpoint_seconds)
    assert np.diff([*training.checkpoints, training.now]).max() <= 120
    spent = checkpoint_seconds * len(training.checkpoints)
    assert spent <= 0.021 * training.now + 2 * checkpoint_seconds
    assert training.syncs <= training.now / 1.5 + 20


def test_a_tiny_network_has_a_checkpoint_at_the_end_of_every_epoch(monkeypatch):
    assert Simulation(monkeypatch, 0.002, 390, 50, 0.01).epoch_checkpoints == 50


@pytest.mark.parametrize("step_seconds", [0.002, 0.3, 7.0])
def test_the_time_is_up_at_the_deadline(monkeypatch, step_seconds):
    training = Simulation(monkeypatch, step_seconds, 10**6, 1, 0.1, deadline=1000.0)
    assert 1000 < training.now < 1000.1 + 2 * step_seconds
