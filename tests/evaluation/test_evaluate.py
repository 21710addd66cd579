"""Accuracy and predictions against direct computation."""

import keras
import numpy as np
import pytest
from keras import ops

import cifar_zoo
from cifar_zoo import CifarZooError, evaluate, predict


def test_accuracy_and_loss():
    """A network that gives for each image the probabilities written into its first pixels."""
    random = np.random.default_rng(0)
    x = random.integers(0, 256, (700, 32, 32, 3), dtype="uint8")
    y = random.integers(0, 10, 700, dtype="uint8")
    inputs = keras.Input((24, 24, 3))
    scores = keras.layers.Lambda(lambda p: p[:, 0, :10, 0] / 32.0, output_shape=(10,))(inputs)
    model = keras.Model(inputs, keras.layers.Softmax()(scores))
    raw = x[:, 4, 4:14, 0].astype("float64") / 32
    log_probabilities = raw - np.log(np.exp(raw).sum(axis=1, keepdims=True))
    metrics = evaluate(model, (x, y), batch_size=300)
    assert metrics["correct"] == int((raw.argmax(axis=1) == y).sum())
    assert metrics["accuracy"] == metrics["correct"] / 700 and metrics["images"] == 700
    assert metrics["loss"] == pytest.approx(-log_probabilities[np.arange(700), y].mean(), rel=1e-5)


def test_labels_beyond_the_classes_are_refused():
    model = cifar_zoo.create_model("nin0", classes=3)
    x = np.zeros((4, 32, 32, 3), "uint8")
    with pytest.raises(CifarZooError, match=r"labels must be 0..2, not 0..7"):
        evaluate(model, (x, np.array([0, 1, 2, 7])))


def test_predict_gives_the_probabilities_of_the_network(tmp_path):
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype="uint8")
    Image.fromarray(pixels).save(tmp_path / "noise.png")
    model = cifar_zoo.create_model("nin0")
    expected = ops.convert_to_numpy(model(pixels[None, 4:28, 4:28]))[0]
    (result,) = predict(model, [tmp_path / "noise.png"], top=10)
    assert result["path"] == str(tmp_path / "noise.png")
    order = np.argsort(-expected)
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    assert [guess["class"] for guess in result["classes"]] == [names[i] for i in order]
    found = [guess["probability"] for guess in result["classes"]]
    np.testing.assert_allclose(found, expected[order], atol=2e-5)


IMAGES, LABELS = np.zeros((4, 32, 32, 3), "uint8"), np.zeros(4, "int64")


@pytest.mark.parametrize("batch_size", [0, -1, 2.5, True, None, "3", np.nan])
def test_a_batch_size_that_is_none_is_refused(batch_size):
    with pytest.raises(CifarZooError, match=f"batch_size must be a positive integer, not {batch_size!r}"):
        evaluate(cifar_zoo.create_model("nin0"), (IMAGES, LABELS), batch_size=batch_size)


def test_a_batch_may_be_larger_than_the_data():
    model = cifar_zoo.create_model("nin0")
    images = np.random.default_rng(0).integers(0, 256, IMAGES.shape, "uint8")
    small, large = (evaluate(model, (images, LABELS), batch_size=size) for size in (4, 10**18))
    assert small == large


@pytest.mark.parametrize(
    "data, given",
    [
        ((IMAGES,), "a tuple of 1"),
        ([(IMAGES, LABELS), (IMAGES, LABELS)], "a list of 2"),
        ((IMAGES, LABELS, LABELS), "a tuple of 3"),
        (IMAGES, "a ndarray of 4"),
        (7, "a int"),
    ],
)
def test_data_that_is_no_split_is_refused(data, given):
    with pytest.raises(CifarZooError, match=rf"data: must be a pair \(images, labels\) of arrays, not {given}"):
        evaluate(cifar_zoo.create_model("nin0"), data)


def test_a_split_may_be_a_list():
    model = cifar_zoo.create_model("nin0")
    assert evaluate(model, [IMAGES, LABELS]) == evaluate(model, (IMAGES, LABELS))


def test_bad_requests_are_refused(tmp_path):
    for top in (2.5, True, None, "3"):
        with pytest.raises(CifarZooError, match=f"top must be an integer, not {top!r}"):
            predict("nin0", [tmp_path / "x.png"], top=top)
    with pytest.raises(CifarZooError, match="top must be from 1 to 10, not 0"):
        predict("nin0", [tmp_path / "x.png"], top=0)
    with pytest.raises(CifarZooError, match="there is no file"):
        predict("nin0", [tmp_path / "x.png"])
