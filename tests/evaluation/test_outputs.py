"""Whether a network gives logits or probabilities, by its structure."""

import keras
import numpy as np
import pytest
from keras import ops

from cifar_zoo import CifarZooError
from cifar_zoo.evaluation.outputs import logits_model

X = np.random.default_rng(0).normal(size=(5, 4, 4, 3)).astype("float32")
L = keras.layers


def network(*ending, activation=None):
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((4, 4, 3)), L.Flatten(), L.Dense(10, activation=activation), *ending])


def functional(make):
    pixels = keras.Input((4, 4, 3))
    return keras.Model(pixels, make(network()(pixels)))


@pytest.mark.parametrize(
    "model, logits",
    [
        (network(), True),
        (network(L.Activation("linear")), True),
        (network(activation="linear"), True),
        (network(L.Softmax()), True),
        (network(L.Activation("softmax")), True),
        (functional(L.Softmax()), True),
        (functional(lambda x: ops.relu(x)), True),
        (network(activation="softmax"), False),
        (network(L.Activation("linear"), activation="softmax"), False),
        (network(L.Softmax(), L.Reshape((10,)), L.Dropout(0.1)), False),
        (functional(ops.softmax), False),
        (functional(network(L.Softmax()).layers[-1]), False),  # a layer of two networks
        (keras.Sequential([keras.Input((4, 4, 3)), network(L.Softmax())]), False),
        (keras.Sequential([keras.Input((4, 4, 3)), network()]), True),
    ],
)
def test_the_last_activation_decides(model, logits):
    part, are_logits = logits_model(model)
    assert are_logits is logits
    scores, outputs = (ops.convert_to_numpy(each(X)) for each in (part, model))
    if part is not model:  # a softmax layer is left out
        powers = np.exp(scores)
        np.testing.assert_allclose(powers / powers.sum(axis=1, keepdims=True), outputs, rtol=1e-4)
    assert [weight.path for weight in part.weights] == [weight.path for weight in model.weights]


@pytest.mark.parametrize(
    "model",
    [network(activation="sigmoid"), network(L.Activation("sigmoid")), functional(ops.sigmoid)],
)
def test_a_sigmoid_is_refused(model):
    with pytest.raises(CifarZooError, match="ends in sigmoid; it must end in logits or in a softmax"):
        logits_model(model)
