"""A model saved in one process and loaded in another one."""

import subprocess
import sys

import keras
import numpy as np

from cifar_zoo import layers, optimizers, schedules


def test_load_model_knows_what_the_zoo_adds(tmp_path):
    inputs = keras.Input((8, 8, 16))
    x = layers.StochasticDepth(0.8)(layers.SqueezeExcite(4)(layers.BatchNormalization()(inputs)))
    model = keras.Model(inputs, x)
    model.compile(optimizers.Muon(schedules.WarmUp(schedules.TanhDecay(0.1, 50), 5)), "mse")
    model.save(tmp_path / "model.keras")
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 16)).astype("float32")
    np.save(tmp_path / "x.npy", x)
    code = f"""
import cifar_zoo, numpy as np
model = cifar_zoo.load_model({str(tmp_path / "model.keras")!r})
assert type(model.optimizer).__name__ == "Muon", model.optimizer
np.save({str(tmp_path / "y.npy")!r}, model.predict_on_batch(np.load({str(tmp_path / "x.npy")!r})))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), model.predict_on_batch(x), rtol=1e-5, atol=1e-6)
