"""The contract that all networks share."""

import numpy as np
import pytest
from keras import ops

import cifar_zoo
from cifar_zoo.models import resnet20, squeeze1


def test_an_unknown_option_is_named_with_the_nearest():
    with pytest.raises(TypeError, match=r"resnet20\(\) has no option 'clases'; did you mean 'classes'"):
        resnet20(clases=3)
    with pytest.raises(TypeError, match="has no option 'xyzzy'; the options are weights, include_top"):
        resnet20(xyzzy=3)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"input_shape": (32, 32)}, r"input_shape must be \(height, width, channels\), not \(32, 32\)"),
        ({"input_shape": 32}, r"input_shape must be \(height, width, channels\), not 32"),
        ({"classifier_activation": "sofmax"}, "classifier_activation must be one of Keras' or None, not 'sofmax'"),
        ({"input_shape": (0, 32, 3)}, "input_shape must be"),
        ({"input_shape": (32, 32, None)}, "input_shape must be"),
        ({"classes": 0}, "classes must be a positive integer, not 0"),
        ({"pooling": "mean", "include_top": False}, "pooling must be None, 'avg' or 'max', not 'mean'"),
        ({"weights": "imagenet"}, "no weights 'imagenet'|no published weights"),
        ({"weights": "nowhere.weights.h5"}, "no weights file 'nowhere.weights.h5'"),
        ({"weights": "cifar10", "input_shape": (32, 32, 1)}, "published weights are for 3 channels"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(cifar_zoo.CifarZooError, match=message):
        resnet20(**options)


def test_unknown_sizes_go_where_the_network_allows():
    x = np.random.default_rng(0).integers(0, 256, (1, 40, 36, 3), dtype="uint8")
    assert resnet20(input_shape=(None, None, 3))(x).shape == (1, 10)
    with pytest.raises(cifar_zoo.CifarZooError, match=r"alex3 cannot be built for input_shape=\(None, None, 3\)"):
        cifar_zoo.create_model("alex3", input_shape=(None, None, 3))


def test_preprocessing_is_the_published_statistics():
    mean = np.array([125.307, 122.950, 113.865])
    std = np.array([62.9932, 62.0887, 66.7048])
    x = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype="uint8")
    inside, outside = resnet20(), resnet20(include_preprocessing=False)
    outside.set_weights(inside.get_weights())
    by_hand = ((x - mean) / std).astype("float32")
    np.testing.assert_allclose(
        ops.convert_to_numpy(inside(x)), ops.convert_to_numpy(outside(by_hand)), rtol=1e-3, atol=1e-5
    )


def test_the_statistics_are_those_of_the_data(cifar10):
    from cifar_zoo.data.cifar10 import MEAN, STD

    x = cifar10[0][0].reshape(-1, 3).astype("float64")
    np.testing.assert_allclose(x.mean(axis=0), MEAN, atol=0.05)
    np.testing.assert_allclose(x.std(axis=0), STD, atol=0.05)


def test_the_name_is_only_a_name():
    assert resnet20(name="mine").name == "mine"
    assert cifar_zoo.create_model("resnet20", name="mine").name == "mine"
    assert resnet20(name="resnet32").count_params() == 274_042


def test_a_new_head_keeps_the_trunk(tmp_path, caplog):
    source = squeeze1()
    path = tmp_path / "own.weights.h5"
    source.save_weights(path)
    model = squeeze1(weights=str(path), classes=5)
    assert model.output_shape == (None, 5)
    assert sum("the classifier is new" in record.message for record in caplog.records) == 1
    for layer in model.layers:
        if layer.weights and layer.name != "classifier":
            for ours, theirs in zip(layer.get_weights(), source.get_layer(layer.name).get_weights(), strict=True):
                np.testing.assert_array_equal(ours, theirs)


def test_weights_serve_without_the_top_and_at_other_sizes(tmp_path):
    source = squeeze1()
    path = tmp_path / "own.weights.h5"
    source.save_weights(path)
    features = squeeze1(weights=str(path), include_top=False, input_shape=(48, 48, 3))
    assert features.output_shape == (None, 12, 12, 256)
    np.testing.assert_array_equal(features.get_weights()[0], source.get_weights()[0])
    larger = squeeze1(weights=str(path), input_shape=(40, 40, 3))
    for ours, theirs in zip(larger.get_weights(), source.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_weights_that_cannot_fit_the_size_are_refused(tmp_path):
    path = tmp_path / "own.weights.h5"
    cifar_zoo.create_model("alex3").save_weights(path)
    with pytest.raises(cifar_zoo.CifarZooError, match="dense_1 needs .* they are for .*24, 24, 3"):
        cifar_zoo.create_model("alex3", weights=str(path), input_shape=(32, 32, 3))
