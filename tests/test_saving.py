"""A model saved in one process and loaded in another one."""

import os
import pickle
import subprocess
import sys

import keras
import numpy as np
import pytest

from cifar_zoo import layers, optimizers, schedules

# What the fresh process does first: importing cifar_zoo is enough, before Keras or after it.
BEGINNINGS = [
    ("tensorflow", "import cifar_zoo, keras"),
    ("tensorflow", "import cifar_zoo.backend.optimizer_steps"),
    *(
        pytest.param("tensorflow", beginning, marks=pytest.mark.full)
        for beginning in (
            "import keras, cifar_zoo",
            "from cifar_zoo.layers import Conv2D",
            "import cifar_zoo.layers.grouped_conv2d",
            "import cifar_zoo.training.schedules",
            "import cifar_zoo.backend.normalization",
            "import cifar_zoo.training.optimizers.sgd",
        )
    ),
    *(pytest.param(backend, "import cifar_zoo", marks=pytest.mark.full) for backend in ("jax", "torch")),
]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with a compiled model of layers, optimizer and schedule of the zoo, its inputs and its outputs."""
    folder = tmp_path_factory.mktemp("saved")
    inputs = keras.Input((8, 8, 16))
    x = layers.GroupedConv2D(16, 3, groups=4, kernel_initializer=layers.Dirac(seed=1))(inputs)
    x = layers.StochasticDepth(0.8)(layers.SqueezeExcite(4)(layers.BatchNormalization()(x)))
    model = keras.Model(inputs, x)
    model.compile(optimizers.Muon(schedules.WarmUp(schedules.TanhDecay(0.1, 50), 5)), "mse")
    model.save(folder / "model.keras")
    (folder / "model.pickle").write_bytes(pickle.dumps(model))
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 16)).astype("float32")
    np.savez(folder / "values.npz", x=x, y=model.predict_on_batch(x))
    return folder


CODE = """
import pickle
from pathlib import Path
import numpy as np

folder = Path({folder!r})
models = [pickle.loads((folder / "model.pickle").read_bytes())]  # without an import of Keras by its name
import keras

models += [keras.saving.load_model(folder / "model.keras"), keras.models.clone_model(models[0])]
models[-1].set_weights(models[0].get_weights())
with np.load(folder / "values.npz") as file:
    for model in models:
        np.testing.assert_allclose(model.predict_on_batch(file["x"]), file["y"], rtol=1e-4, atol=1e-5)
for model in models[:2]:
    assert type(model.optimizer).__name__ == "Muon", model.optimizer
    assert type(model.optimizer._learning_rate).__name__ == "WarmUp", model.optimizer
from cifar_zoo import layers

assert keras.saving.get_registered_object("cifar_zoo>Conv2D") is layers.Conv2D
"""


@pytest.mark.parametrize("backend, beginning", BEGINNINGS)
def test_importing_the_package_is_enough_to_load(saved, backend, beginning):
    if backend != "tensorflow":
        pytest.importorskip(backend)
    done = subprocess.run(
        [sys.executable, "-c", beginning + CODE.format(folder=str(saved))],
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
