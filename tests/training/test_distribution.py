"""Several devices: JAX with virtual ones on the CPU, in processes of their own, and what is refused."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from cifar_zoo import CifarZooError, Recipe, fit_cifar10

PROGRAM = Path(__file__).with_name("distributed_run.py")


def run(folder, devices, data, *arguments):
    """Train in a process with virtual devices, and return the losses of all epochs and the weights."""
    environment = {
        **os.environ,
        "KERAS_BACKEND": "jax",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
    }
    command = [sys.executable, PROGRAM, folder, data, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def on_four(tmp_path_factory, small_npz):
    pytest.importorskip("jax")
    return run(tmp_path_factory.mktemp("four") / "run", 4, small_npz)


def test_several_devices_train_like_one(tmp_path, small_npz, on_four):
    alone = run(tmp_path / "run", 1, small_npz)
    assert on_four["devices"] == 4 and alone["devices"] == 1
    assert len(alone["loss"]) == 2  # 20 steps
    np.testing.assert_allclose(on_four["loss"], alone["loss"], rtol=1e-5)
    # 37 held-out and 200 test images are no multiple of 4
    np.testing.assert_allclose(on_four["val_loss"], alone["val_loss"], rtol=1e-4)
    assert on_four["test_images"] == 200 and abs(on_four["test_correct"] - alone["test_correct"]) <= 2


@pytest.mark.full
def test_an_interrupted_training_resumes_on_any_number_of_devices(tmp_path, small_npz, on_four):
    for devices in (4, 8):
        folder = tmp_path / f"run{devices}"
        assert run(folder, 4, small_npz, "--stop")["loss"] == on_four["loss"][:1]
        resumed = run(folder, devices, small_npz)
        if devices == 4:
            assert resumed == on_four  # to the bit
        else:
            np.testing.assert_allclose(resumed["loss"], on_four["loss"], rtol=1e-5)


def test_a_batch_that_cannot_be_shared_is_refused(zoo, tmp_path, small_npz):
    pytest.importorskip("jax")
    environment = {"KERAS_BACKEND": "jax", "XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
    options = ["--data", small_npz, "--run-dir", tmp_path / "run", "--data-parallel", "--batch-size", 62, "--epochs", 1]
    done = zoo("fit", "squeeze1", *options, env=environment)
    message = "batch_size must be a multiple of the 4 devices that share a batch, not 62; 60 would be"
    assert done.returncode == 2 and done.stderr == f"cifar-zoo: {message}\n"


@pytest.mark.full
def test_the_command_shares_batches_among_all_devices(zoo, small_npz, tmp_path):
    pytest.importorskip("jax")
    arguments = ("fit", "squeeze1", "--epochs", 1, "--data", small_npz, "--run-dir", tmp_path / "run")
    environment = {"KERAS_BACKEND": "jax", "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    done = zoo(*arguments, "--data-parallel", env=environment)
    assert done.returncode == 0, done.stderr
    assert "2 devices share each batch" in done.stdout
    done = zoo(*arguments, "--data-parallel", env={"KERAS_BACKEND": "tensorflow"})
    assert done.returncode == 2 and "only the JAX backend trains on several devices, not tensorflow" in done.stderr


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="a strategy of TensorFlow")
def test_strategies_of_tensorflow_are_refused(small_npz, tmp_path):
    import tensorflow as tf

    with tf.distribute.MirroredStrategy().scope(), pytest.raises(CifarZooError, match=r"MirroredStrategy; use the JAX"):
        fit_cifar10("squeeze1", Recipe(epochs=1), data=small_npz, run_dir=tmp_path / "run", verbose=0)
    assert not (tmp_path / "run").exists()


def test_several_processes_of_pytorch_are_refused(zoo, small_npz, tmp_path):
    pytest.importorskip("torch")
    arguments = ("fit", "squeeze1", "--data", small_npz, "--run-dir", tmp_path / "run")
    done = zoo(*arguments, env={"KERAS_BACKEND": "torch", "WORLD_SIZE": "2"})
    assert done.returncode == 2 and "WORLD_SIZE is 2" in done.stderr and len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "run").exists()
