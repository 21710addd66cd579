"""Accuracy on corrupted images, by hand and from files in the form of CIFAR-10-C."""

import keras
import numpy as np
import pytest

import cifar_zoo
from cifar_zoo import CifarZooError
from cifar_zoo.evaluation import robustness
from cifar_zoo.evaluation.corruptions import CORRUPTIONS, corrupt
from cifar_zoo.evaluation.robustness import corruption_accuracies


def bright(threshold=128):
    """A network that tells bright from dark images by their first pixel."""
    model = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Flatten(), keras.layers.Dense(10)])
    kernel = np.zeros((3072, 10))
    kernel[0, 1] = 1
    model.set_weights([kernel, np.eye(10)[0] * threshold - 1000 * (np.arange(10) > 1)])
    return model


def test_accuracies_by_hand(cifar10):
    x, y = cifar10[1][0][:30], cifar10[1][1][:30]
    model = cifar_zoo.models.squeeze1(weights="cifar10")
    found = corruption_accuracies(model, x, y)
    assert list(found["accuracy"]) == list(CORRUPTIONS) and found["images"] == 30
    for name, severity in (("gaussian_noise", 5), ("fog", 1), ("jpeg_compression", 3)):
        scores = model.predict(corrupt(x, name, severity)[:, 4:28, 4:28], verbose=0)
        assert found["accuracy"][name][severity - 1] == pytest.approx((scores.argmax(axis=1) == y).mean())
    values = np.array(list(found["accuracy"].values()))
    assert values.shape == (15, 5)
    assert found["mean_accuracy"] == pytest.approx(values.mean()) and found["mce"] == pytest.approx(1 - values.mean())
    clean = cifar_zoo.evaluate(model, (x, y), corruptions=True)
    assert clean["corruptions"] == found and clean["accuracy"] > found["mean_accuracy"]


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A folder with two files in the form of CIFAR-10-C; their pixels are those of a pattern."""
    monkeypatch.setattr(robustness, "CORRUPTIONS", ("fog", "snow"))
    labels = np.tile((np.arange(10_000) % 2).astype("uint8"), 5)
    np.save(tmp_path / "labels.npy", labels)
    for name, right in (("fog", (10_000, 8_000, 6_000, 4_000, 2_000)), ("snow", (0, 0, 5_000, 0, 0))):
        images = np.lib.format.open_memmap(tmp_path / f"{name}.npy", "w+", "uint8", (50_000, 32, 32, 3))
        for severity, count in enumerate(right):
            part = slice(10_000 * severity, 10_000 * (severity + 1))
            shown = labels[part] ^ (np.arange(10_000) >= count)
            images[part, 0, 0, 0] = 255 * shown
    return tmp_path


def test_the_published_files_are_preferred(published):
    model = bright()
    x = np.zeros((7, 32, 32, 3), "uint8")
    found = cifar_zoo.evaluate(model, (x, np.zeros(7, int)), corruptions=published)["corruptions"]
    assert found["accuracy"] == {"fog": [1.0, 0.8, 0.6, 0.4, 0.2], "snow": [0.0, 0.0, 0.5, 0.0, 0.0]}
    assert found["images"] == 10_000 and found["set"] == "CIFAR-10-C, the published files"


def test_a_folder_without_the_files_is_refused(tmp_path, zoo, small_npz):
    x = np.zeros((7, 32, 32, 3), "uint8")
    with pytest.raises(CifarZooError, match="gaussian_noise.npy"):
        cifar_zoo.evaluate(bright(), (x, np.zeros(7, int)), corruptions=tmp_path)
    done = zoo("evaluate", "squeeze1", "--data", small_npz, "--corruptions", tmp_path)
    assert done.returncode == 2 and "gaussian_noise.npy" in done.stderr.splitlines()[-1]
