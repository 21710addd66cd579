"""Logits and probabilities are told apart by the structure of a model, whatever its values are."""

import keras
import numpy as np
import pytest
from scipy.special import softmax

import cifar_zoo
from cifar_zoo import CifarZooError, evaluate, predict
from cifar_zoo.evaluation.evaluate import predict_logits
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


def test_predictions_that_are_not_numbers_are_refused(tmp_path):
    from PIL import Image

    Image.new("RGB", (32, 32), "white").save(tmp_path / "white.png")
    inputs = keras.Input((32, 32, 3))
    model = keras.Model(inputs, L.Dense(10)(L.GlobalMaxPooling2D()(inputs)), name="broken")
    model.layers[-1].set_weights([np.full((3, 10), np.nan), np.zeros(10)])
    with pytest.raises(CifarZooError, match="broken gives scores for .*white.png' that are not numbers"):
        predict(model, [tmp_path / "white.png"])
