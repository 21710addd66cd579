"""What makes two trainings the same run."""

import json

import keras
import numpy as np
import pytest

import cifar_zoo
from cifar_zoo import CifarZooError, Recipe, fit_cifar10
from cifar_zoo.training.identity import hash_architecture, hash_initial_weights

RANDOM = np.random.default_rng(0)
X, Y = RANDOM.integers(0, 256, (40, 8, 8, 3), dtype="uint8"), np.arange(40) % 10
RECIPE = Recipe(epochs=1, batch_size=20, padding=0)


def small(activation="relu", name="act"):
    """Convolution and batch norm; the names of all layers but one differ from call to call."""
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(4, 3),
            keras.layers.BatchNormalization(),
            keras.layers.Activation(activation, name=name),
            keras.layers.Dropout(0.1),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(10),
        ],
        name="small",
    )


def functional(swapped=False, name=None):
    inner_input = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(3, 3, padding="same")(inner_input)
    inner = keras.Model(inner_input, keras.layers.Add()([inner_input, x]))
    pixels = keras.Input((8, 8, 3))
    one = inner(pixels)
    other = keras.layers.TimeDistributed(keras.layers.Dense(3))(one)
    x = keras.ops.relu(keras.layers.Concatenate()([other, one] if swapped else [one, other]))
    return keras.Model(pixels, keras.layers.Dense(10)(keras.layers.GlobalAveragePooling2D()(x)), name=name)


def fit(model, directory, test=(X[:10], Y[:10]), **options):
    return fit_cifar10(model, RECIPE, data=((X, Y), test), run_dir=directory, verbose=0, **options)


@pytest.mark.parametrize("build", [small, functional, lambda: cifar_zoo.create_model("airbench94")])
def test_the_architecture_is_that_of_the_same_network_built_again(build):
    assert hash_architecture(build()) == hash_architecture(build())


def test_the_architecture_is_not_that_of_another_network():
    networks = [small(), small("tanh"), small("tanh", name="tanh"), functional(), functional(swapped=True)]
    hashes = [hash_architecture(network) for network in networks]
    assert len(set(hashes)) == 4 and hashes[1] == hashes[2]
    assert hash_architecture(functional(name="other")) == hashes[3]


def test_a_layer_without_a_configuration_has_an_architecture_too():
    class Scale(keras.layers.Layer):
        def __init__(self, factor):
            super().__init__()
            self.factor = np.float32(factor)  # which Keras cannot write down

        def call(self, inputs):
            return inputs * self.factor

    def network(layer):
        return keras.Sequential([keras.Input((8, 8, 3)), layer, keras.layers.Flatten(), keras.layers.Dense(10)])

    assert hash_architecture(network(Scale(0.5))) == hash_architecture(network(Scale(0.5)))
    assert hash_architecture(network(Scale(0.5))) != hash_architecture(network(keras.layers.ReLU()))


def test_random_initial_weights_are_no_part_of_it_and_trained_ones_are():
    assert hash_initial_weights(small()) is None
    one, other = small(), small()
    one.layers[2].moving_mean.assign([1.0, 2.0, 3.0, 4.0])
    other.layers[2].moving_mean.assign([1.0, 2.0, 3.0, 5.0])
    assert len({hash_initial_weights(one), hash_initial_weights(other), None}) == 3


def test_a_finished_run_is_given_back_for_the_same_network_only(tmp_path):
    run = fit(small(), tmp_path)
    assert fit(small(), tmp_path).metrics == run.metrics
    with pytest.raises(CifarZooError, match="holds a run with architecture_sha256 = "):
        fit(small("tanh"), tmp_path)
    trained = small()
    trained.set_weights(run.model.get_weights())
    with pytest.raises(CifarZooError, match="holds a run with initial_weights_sha256 = None, not '"):
        fit(trained, tmp_path)


def test_a_finished_run_is_given_back_for_the_same_images_only(tmp_path):
    fit(small(), tmp_path, holdout=10, evaluate_test=True)
    with pytest.raises(CifarZooError, match="holds a run with test_sha256 = "):
        fit(small(), tmp_path, (X[10:20], Y[:10]), holdout=10, evaluate_test=True)
    with pytest.raises(CifarZooError, match="holds a run with test_sha256 = "):
        fit(small(), tmp_path, (X[:10], Y[:10][::-1]), holdout=10, evaluate_test=True)
    with pytest.raises(CifarZooError, match="holds a run with evaluate_test = True, not False"):
        fit(small(), tmp_path, holdout=10)
    other = X.copy()
    other[-1] = 0
    with pytest.raises(CifarZooError, match="holds a run with holdout_sha256 = "):
        data = ((other, Y), (X[:10], Y[:10]))
        fit_cifar10(
            small(), RECIPE, data=data, run_dir=tmp_path, verbose=0, holdout=10, evaluate_test=True
        )  # fmt: skip


def test_a_run_with_held_out_images_does_not_look_at_the_test_images(tmp_path):
    run = fit(small(), tmp_path / "held_out", holdout=10)
    assert {name for name in run.metrics if "accuracy" in name} == {"holdout_accuracy", "holdout_accuracy_interval"}
    assert not any(name.startswith("test_") for name in run.metrics)
    assert json.loads((tmp_path / "held_out" / "config.json").read_text())["test_sha256"] is None
    both = fit(small(), tmp_path / "both", holdout=10, evaluate_test=True)
    assert {"holdout_accuracy", "test_accuracy"} <= both.metrics.keys()
    neither = fit(small(), tmp_path / "neither", evaluate_test=False)
    assert not any("accuracy" in name for name in neither.metrics)
