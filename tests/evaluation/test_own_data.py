"""`evaluate` with people's own networks, and with images and labels in the forms that people have."""

import logging

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cifar_zoo
from cifar_zoo import CifarZooError, evaluate

RANDOM = np.random.default_rng(0)
X, Y = RANDOM.integers(0, 256, (6, 4, 4, 3), "uint8"), np.array([0, 1, 2, 1, 0, 2])


def network(classes=3, channels=3):
    return keras.Sequential([keras.Input((4, 4, channels)), keras.layers.Flatten(), keras.layers.Dense(classes)])


MODEL = network()


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        return X[3 * index : 3 * index + 3], Y[3 * index : 3 * index + 3]


def tf_data(pixels="uint8"):
    tf = pytest.importorskip("tensorflow")
    return tf.data.Dataset.from_tensor_slices((X.astype(pixels), Y)).batch(4)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(lambda: [X, Y], id="list"),
        pytest.param(lambda: [X.tolist(), Y.tolist()], id="lists of numbers"),
        pytest.param(lambda: (X.astype("float32"), Y[:, None]), id="whole floats"),
        pytest.param(lambda: ((X[:2], Y[:2]), (X, Y)), id="both parts of a dataset"),
        pytest.param(lambda: iter([(X[:4], Y[:4]), (X[4:], Y[4:])]), id="batches"),
        pytest.param(tf_data, id="tf.data"),
        pytest.param(lambda: tf_data("float32"), id="tf.data of floats"),
        pytest.param(Batches, id="PyDataset"),
    ],
)
def test_every_form_of_labeled_images_gives_the_same_figures(data):
    assert evaluate(MODEL, data()) == evaluate(MODEL, (X, Y))


@given(classes=st.integers(1, 400), channels=st.integers(1, 5), seed=st.integers(0, 99))
@settings(max_examples=8, deadline=None)
def test_any_number_of_classes_and_channels(classes, channels, seed):
    random = np.random.default_rng(seed)
    x, y = random.integers(0, 256, (9, 5, 6, channels), "uint8"), random.integers(0, classes, 9)
    model = network(classes, channels)
    scores = x[:, :4, 1:5].reshape(9, -1).astype("float32") @ keras.ops.convert_to_numpy(model.layers[-1].kernel)
    assert evaluate(model, (x, y))["correct"] == (scores.argmax(axis=1) == y).sum()
    with pytest.raises(CifarZooError, match=rf"labels must be 0\.\.{classes - 1}, not \d+\.\.{classes}"):
        evaluate(model, (x, np.append(y[:8], classes)))


@pytest.mark.parametrize(
    "data, message",
    [
        ((X / 255, Y), "images must be uint8 .*, not float64"),
        ((np.zeros(X.shape), Y), "images must be uint8 .*, not float64"),
        ((X * np.nan, Y), "images must be uint8 .*, not float64"),
        ((X[..., :1], Y), r"images must be uint8 \(n, rows, columns, 3\), not uint8 \(6, 4, 4, 1\)"),
        ((X, np.eye(3)[Y]), "labels must be integers"),
        ((X, np.array(["cat", "dog"] * 3)), "labels must be integers"),
        ({"x": X, "y": Y}, "images must be uint8"),
        (iter(["a.png", "b.png"]), "must be a pair"),
        (iter([]), "must be a pair"),
    ],
)
def test_anything_else_is_refused_in_one_line(data, message):
    with pytest.raises(CifarZooError, match=message) as error:
        evaluate(MODEL, data)
    assert "\n" not in str(error.value)


def test_a_dataset_without_an_end_is_refused():
    with pytest.raises(CifarZooError, match="the dataset has no end; use its method `take`"):
        evaluate(MODEL, tf_data().repeat())


def test_a_registered_name(tmp_path):
    x, y = RANDOM.integers(0, 256, (4, 32, 32, 3), "uint8"), Y[:4]
    assert evaluate("squeeze1", (x, y)) == evaluate(cifar_zoo.models.squeeze1(weights="cifar10"), (x, y))
    own = cifar_zoo.models.nin0()
    cifar_zoo.save_weights(own, tmp_path / "own.weights.h5")
    found = evaluate("nin0", (x, y), weights=tmp_path / "own.weights.h5")
    assert found["loss"] == pytest.approx(evaluate(own, (x, y))["loss"], rel=1e-2)


@pytest.mark.parametrize("model", [None, keras.layers.Dense(3), cifar_zoo.models.nin0(features=True)])
def test_what_is_no_network_with_class_scores_is_refused(model):
    with pytest.raises(CifarZooError, match="must be a functional or Sequential model from images"):
        evaluate(model, (X, Y))


def test_scores_that_are_not_finite_are_said(caplog):
    model = network()
    model.layers[-1].set_weights([np.full((48, 3), np.nan), np.zeros(3)])
    with caplog.at_level(logging.WARNING):
        assert evaluate(model, (X, Y))["correct"] == 0
    assert "gives scores for 6 of 6 images that are not finite" in caplog.text


def test_numpy_that_raises(tmp_path):
    """Small probabilities and weights become zero, which `np.seterr(all="raise")` would report."""
    model = network()
    model.layers[-1].set_weights([1e3 * np.eye(48, 3), np.zeros(3)])
    small = network()
    small.layers[-1].set_weights([1e-30 * np.eye(48, 3), np.zeros(3)])
    expected = evaluate(model, (X, Y), tta=True)
    with np.errstate(all="raise"):
        assert evaluate(model, (X, Y), tta=True) == expected
        cifar_zoo.save_weights(small, tmp_path / "small.weights.h5")
        cifar_zoo.load_weights(small, tmp_path / "small.weights.h5")
