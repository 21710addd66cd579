"""The contract that all networks share."""

import gc

import numpy as np
import pytest
from keras import ops

import cifar_zoo
from cifar_zoo.evaluation.costs import abstract_model
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


@pytest.mark.parametrize("channels", [1, 4])
def test_own_weights_of_any_number_of_channels_load_by_their_path(tmp_path, channels):
    options = {"input_shape": (24, 24, channels)}
    source = squeeze1(**options, classes=4)
    cifar_zoo.save_weights(source, tmp_path / "own.weights.h5")
    same = squeeze1(weights=tmp_path / "own.weights.h5", **options, classes=4)
    other = squeeze1(weights=str(tmp_path / "own.weights.h5"), **options, classes=7)
    trunk = squeeze1(weights=str(tmp_path / "own.weights.h5"), **options, include_top=False)
    for model in (same, other, trunk):
        np.testing.assert_allclose(model.get_weights()[0], source.get_weights()[0], rtol=1e-3, atol=1e-6)
    assert other.output_shape == (None, 7)
    with pytest.raises(cifar_zoo.CifarZooError, match=r"own\.weights\.h5"):
        squeeze1(weights=str(tmp_path / "own.weights.h5"), input_shape=(24, 24, 3), classes=4)


def test_integers_of_any_type_are_taken():
    labels = np.array([0, 4, 2])
    for options in (
        {"classes": labels.max() + 1},
        {"classes": np.array(5)},
        {"classes": np.uint8(5), "input_shape": tuple(np.array([40, 40, 3]))},
        {"classes": 5, "input_shape": np.array([40, 40, 3])},
        {"classes": 5, "input_shape": [np.int64(40), None, np.int32(3)]},
    ):
        model = abstract_model("squeeze1", **options)
        assert model.output_shape == (None, 5)
        assert model.input_shape[1:] == tuple(options.get("input_shape", (24, 24, 3)))
        assert all(type(size) in (int, type(None)) for size in model.input_shape)


@pytest.mark.parametrize("number", [True, np.True_, 3.0, np.float32(3), "3", None, -1, np.int64(0), np.array([3, 4])])
def test_what_is_no_positive_integer_is_refused(number):
    with pytest.raises(cifar_zoo.CifarZooError, match="classes must be a positive integer, not "):
        resnet20(classes=number)
    with pytest.raises(cifar_zoo.CifarZooError, match=r"input_shape must be \(height, width, channels\), not "):
        resnet20(input_shape=(32, 32, number))


def test_none_means_the_default():
    model = abstract_model("squeeze1", input_shape=None, name=None)
    assert (model.name, model.input_shape) == ("squeeze1", (None, 24, 24, 3))


@pytest.mark.parametrize("stages", [{}, None, "x"])
def test_a_trunk_must_return_its_stages(stages):
    architecture = cifar_zoo.Architecture(lambda x: x if stages == "x" else stages)
    with pytest.raises(TypeError, match="the trunk of mine must return its stages"):
        architecture.build(
            registered="mine", include_top=True, input_shape=(8, 8, 3), pooling=None, classes=10,
            classifier_activation=None, include_preprocessing=True, features=False, name="mine",
        )  # fmt: skip


@pytest.mark.parametrize("enabled", [True, False])
def test_no_garbage_is_collected_while_a_network_is_built(enabled):
    """It would be searched for among a million objects of the backend. Whether Python collects any stays as it was."""
    phases = []
    before = gc.isenabled()
    gc.callbacks.append(note := lambda phase, info: phases.append(phase))
    try:
        gc.enable() if enabled else gc.disable()
        cifar_zoo.create_model("resnet20")
        with pytest.raises(cifar_zoo.CifarZooError):
            cifar_zoo.create_model("resnet20", pooling="median")
        assert gc.isenabled() == enabled
    finally:
        gc.enable() if before else gc.disable()
        gc.callbacks.remove(note)
    assert len(phases) < 10, phases  # a few after the network has been built; without this, there are 34
