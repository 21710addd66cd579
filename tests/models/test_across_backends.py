"""The same weights give the same logits on TensorFlow, JAX and PyTorch."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import cifar_zoo

ROOT = Path(__file__).resolve().parents[2]
NAMES = [name for name in cifar_zoo.list_models() if cifar_zoo.model_info(name).params < 12_000_000]
# Each backend has processes of its own: all networks together take 5 GB.
START = """
import sys, keras, numpy as np, cifar_zoo
from cifar_zoo.training.network import flat_layers

folder, *names = sys.argv[1:]
for name in names:
    model = cifar_zoo.create_model(name)
    random = np.random.default_rng(1)
    for weight in model.weights:  # biases and batch norm other than at the start
        if len(weight.shape) == 1:
            weight.assign(keras.ops.convert_to_numpy(weight) + random.uniform(0, 0.2, weight.shape))
    # Batch-norm statistics half of the way to those of a batch. With none of them the sums of residual networks
    # explode; with all, a random network magnifies rounding errors from layer to layer, as no trained one does.
    for layer in flat_layers(model):
        if hasattr(layer, "moving_mean"):
            layer.momentum = 0.5
    model(random.integers(0, 256, (32, *model.input_shape[1:]), dtype="uint8"), training=True)
    model.save_weights(f"{folder}/{name}.weights.h5")
"""
LOGITS = """
import sys, keras, numpy as np, cifar_zoo

folder, *names = sys.argv[1:]
for name in names:
    model = cifar_zoo.create_model(name, weights=f"{folder}/{name}.weights.h5", classifier_activation=None)
    x = np.random.default_rng(0).integers(0, 256, (4, *model.input_shape[1:]), dtype="uint8")
    np.save(f"{folder}/{name}.{keras.backend.backend()}.npy", np.asarray(model.predict_on_batch(x)))
"""


@pytest.fixture(scope="module")
def logits(tmp_path_factory):
    """A folder with the logits of every network by every backend, from weights that have seen some images."""
    folder = tmp_path_factory.mktemp("logits")
    for script, backend in ((START, "tensorflow"), (LOGITS, "tensorflow"), (LOGITS, "jax"), (LOGITS, "torch")):
        if importlib.util.find_spec(backend):
            environment = {**os.environ, "KERAS_BACKEND": backend}
            command = [sys.executable, "-c", script, str(folder), *NAMES]
            done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.mark.full
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="compares all backends already")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_logits_agree(logits, name, backend):
    if not (logits / f"{name}.{backend}.npy").exists():
        pytest.skip(f"{backend} is not installed: pip install 'cifar-zoo[{backend}]'")
    ours, theirs = np.load(logits / f"{name}.tensorflow.npy"), np.load(logits / f"{name}.{backend}.npy")
    assert np.abs(ours - theirs).max() <= 1e-4 * np.abs(ours).max()
