"""Logits and probabilities are told apart by the structure of a model, whatever its values are."""

from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from scipy.special import softmax

import cifar_zoo
from cifar_zoo import CifarZooError, evaluate, predict
from cifar_zoo.evaluation.logits import predict_logits
from cifar_zoo.evaluation.outputs import gives_logits, logits_model

SCORES = np.array([[2.0, -1.0, 0.5], [0.25, 0.25, 0.5], [1.0, 0.0, 0.0], [0.7999, 0.1001, 0.1]], "float32")


def ending(*layers):
    return keras.Sequential([keras.Input((1, 1, 3)), keras.layers.Flatten(), *layers])


def nested(inner):
    inputs = keras.Input((1, 1, 3))
    return keras.Model(inputs, inner(inputs))


def with_operation(operation):
    inputs = keras.Input((1, 1, 3))
    return keras.Model(inputs, operation(keras.layers.Flatten()(inputs)))


L = keras.layers
MODELS = {
    "linear dense": (lambda: ending(L.Dense(3)), True),
    "relu": (lambda: ending(L.ReLU()), True),
    "log softmax": (lambda: ending(L.Activation("log_softmax")), True),
    "linear activation": (lambda: ending(L.Dense(3), L.Activation("linear")), True),
    "softmax, then linear": (lambda: ending(L.Softmax(), L.Activation("linear")), False),
    "softmax dense": (lambda: ending(L.Dense(3, activation="softmax")), False),
    "softmax activation": (lambda: ending(L.Activation("softmax")), False),
    "softmax layer": (lambda: ending(L.Softmax()), False),
    "sigmoid": (lambda: ending(L.Dense(3, activation="sigmoid")), False),
    "softmax operation": (lambda: with_operation(keras.ops.softmax), False),
    "relu operation": (lambda: with_operation(keras.ops.relu), True),
    "softmax, then shapes": (lambda: ending(L.Softmax(), L.Reshape((3, 1)), L.Flatten(), L.Identity()), False),
    "nested logits": (lambda: nested(ending(L.Dense(3))), True),
    "nested softmax": (lambda: nested(ending(L.Softmax())), False),
    "zoo": (lambda: cifar_zoo.create_model("nin0"), False),
    "zoo logits": (lambda: cifar_zoo.create_model("nin0", classifier_activation=None), True),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_last_activation_decides(name):
    make, logits = MODELS[name]
    model = make()
    assert gives_logits(model) is logits
    scores, are_logits = logits_model(model)
    x = np.random.default_rng(0).integers(0, 256, (4, *model.input_shape[1:])).astype("float32") / 64
    found, given = (np.asarray(keras.ops.convert_to_numpy(part(x))) for part in (scores, model))
    expected = found if scores is model else softmax(found, axis=1)
    assert are_logits or scores is model
    np.testing.assert_allclose(given, expected, rtol=1e-5)


@pytest.mark.parametrize("scores", [SCORES, SCORES[1:3], SCORES[2:3]], ids=["any", "that add up to one", "one"])
def test_logits_that_look_like_probabilities_stay_logits(scores):
    identity = ending(L.Identity())
    x = scores.reshape(-1, 1, 1, 3)
    np.testing.assert_array_equal(predict_logits(identity, x), scores)
    np.testing.assert_allclose(
        predict_logits(identity, np.abs(x), from_logits=False),
        np.log(np.maximum(np.abs(scores), np.finfo("float32").tiny)),
        rtol=1e-5,
    )


def test_an_image_without_numbers_changes_no_other():
    model = ending(L.Softmax())
    x = SCORES.reshape(-1, 1, 1, 3).copy()
    clean = predict_logits(model, x)
    x[0] = np.nan
    found = predict_logits(model, x)
    assert np.isnan(found[0]).all()
    np.testing.assert_array_equal(found[1:], clean[1:])


def test_probabilities_in_bfloat16_stay_what_they_are():
    """Rounding lets a row add up to 1.004, which says nothing of what they are."""
    model = ending(L.Softmax(dtype="bfloat16"))
    x = np.log(np.array([[0.8, 0.1, 0.1]] * 7, "float32")).reshape(-1, 1, 1, 3)
    np.testing.assert_allclose(np.exp(predict_logits(model, x))[:, 0], 0.8, atol=0.01)
    labels = np.zeros(7, "uint8")
    assert evaluate(model, ((x * 0).astype("uint8"), labels))["loss"] == pytest.approx(np.log(3), abs=0.01)


def pixels_model(bias=0.0):
    """A network whose ten scores are the brightest red of the image, but for its class 3, which has `bias` more."""
    inputs = keras.Input((32, 32, 3))
    model = keras.Model(inputs, L.Dense(10)(L.GlobalMaxPooling2D()(inputs)), name="pixels")
    kernel, biases = np.zeros((3, 10)), np.zeros(10)
    kernel[0], biases[3] = 1, bias
    model.layers[-1].set_weights([kernel, biases])
    return model


def test_an_image_whose_scores_are_not_finite_is_named_and_no_other(tmp_path, caplog):
    for color in ("white", "black"):
        Image.new("RGB", (32, 32), color).save(tmp_path / f"{color}.png")
    model = pixels_model()
    model.layers[-1].set_weights([np.full((3, 10), 1e37), np.arange(10)])  # 255 times as much is infinite
    results = predict(model, [tmp_path / "white.png", tmp_path / "black.png"], top=1)
    assert [[guess["class"] for guess in result["classes"]] for result in results] == [[], ["truck"]]
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == f"pixels gives scores for {str(tmp_path / 'white.png')!r} that are not finite"


def test_predict_takes_any_iterable_of_images(tmp_path, monkeypatch):
    monkeypatch.setattr("cifar_zoo.evaluation.predict._AT_ONCE", 2)
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype="uint8")
    for number in range(3):
        Image.fromarray(pixels[number]).save(f"{number}.png")
    model = pixels_model(bias=1.0)
    paths = [f"{number}.png" for number in range(3)]
    expected = predict(model, paths)
    assert [result["path"] for result in expected] == paths
    assert {result["classes"][0]["class"] for result in expected} == {"cat"}
    assert expected[0]["classes"][0]["probability"] == pytest.approx(np.e / (np.e + 9), abs=1e-3)
    for images in (sorted(Path().glob("*.png")), map(str, paths), iter(paths), np.array(paths), dict.fromkeys(paths)):
        assert predict(model, images) == expected
    for images in (pixels, list(pixels), [Image.open(path) for path in paths], [Image.fromarray(x) for x in pixels]):
        assert predict(model, images) == [{**result, "path": None} for result in expected]


@pytest.mark.parametrize(
    "images, message",
    [
        ([], "there are no images to classify"),
        (iter(()), "there are no images to classify"),
        ("one.png", "images must be a list or another iterable of images, not 'one.png'"),
        (Image.new("RGB", (8, 8)), "images must be a list or another iterable of images, not <PIL"),
        (["https://example.com/cat.png"], "there is no file 'https://example.com/cat.png'"),
        (["."], "'.' is a folder, where a file was expected"),
        ([3], r"images\[0\] must be a path, an array or an image of Pillow, not int"),
        (np.zeros((2, 32, 32, 3)), r"images\[0\] must be pixels 0..255, uint8 .* not float64 \(32, 32, 3\)"),
        (np.zeros((32, 32, 3), "uint8"), r"images\[0\] must be pixels 0..255, uint8 .* not uint8 \(32, 3\)"),
        ([np.zeros((32, 0, 3), "uint8")], r"images\[0\] must be pixels .* not uint8 \(32, 0, 3\)"),
    ],
)
def test_what_predict_cannot_use_is_refused(images, message):
    with pytest.raises(CifarZooError, match=message):
        predict(pixels_model(), images)


def test_predict_names_the_classes_of_other_networks():
    inputs = keras.Input((32, 32, 3))
    model = keras.Model(inputs, L.Dense(2, kernel_initializer="zeros")(L.Flatten()(inputs)), name="two")
    model.layers[-1].bias.assign([0.0, 1.0])
    image = np.zeros((40, 40, 3), "uint8")
    (result,) = predict(model, [image], class_names=["bee", "wasp"], top=2)
    assert [guess["class"] for guess in result["classes"]] == ["wasp", "bee"]
    with pytest.raises(CifarZooError, match=r"two gives \(None, 2\), not the scores of 10 classes; class_names names"):
        predict(model, [image])
    with pytest.raises(CifarZooError, match="top must be from 1 to 2, not 3"):
        predict(model, [image], class_names=["bee", "wasp"])
