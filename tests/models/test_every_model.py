"""What holds for every network of the register."""

import keras
import numpy as np
import pytest
from keras import ops

import cifar_zoo

NAMES = cifar_zoo.list_models()
LARGE = {"resnet56", "resnet110", "resnet18"}
every_model = pytest.mark.parametrize("name", NAMES)
every_model_by_size = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.full] if name in LARGE else []) for name in NAMES]
)


def pictures(model, count=2):
    return np.random.default_rng(0).integers(0, 256, (count, *model.input_shape[1:]), dtype="uint8")


def count(weights):
    return sum(int(np.prod(weight.shape)) for weight in weights)


@every_model
def test_parameters(name):
    model, info = cifar_zoo.create_model(name), cifar_zoo.model_info(name)
    assert (count(model.weights), count(model.trainable_weights)) == (info.params, info.trainable)
    assert model.input_shape == (None, *info.input_shape)
    assert model.name == name


@every_model
def test_layers_have_fixed_names(name):
    first, second = cifar_zoo.create_model(name), cifar_zoo.create_model(name)
    names = [layer.name for layer in first.layers]
    assert names == [layer.name for layer in second.layers]
    assert len(set(names)) == len(names)
    assert "classifier" in names


@every_model_by_size
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_outputs_are_probabilities(name, dtype):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)
    try:
        model = cifar_zoo.create_model(name)
    finally:
        keras.config.set_dtype_policy(before)
    out = ops.convert_to_numpy(model(pictures(model)))
    assert out.shape == (2, 10) and out.dtype == np.float32
    assert np.isfinite(out).all()
    np.testing.assert_allclose(out.sum(axis=1), 1, atol=1e-5)


@every_model_by_size
def test_uint8_and_float_pixels_are_the_same(name):
    model = cifar_zoo.create_model(name)
    x = pictures(model)
    np.testing.assert_array_equal(ops.convert_to_numpy(model(x)), ops.convert_to_numpy(model(x.astype("float32"))))


@every_model_by_size
def test_every_trainable_weight_gets_a_gradient_and_moves(name):
    keras.utils.set_random_seed(1)
    model = cifar_zoo.create_model(name, classifier_activation=None)  # saturated probabilities have no gradient
    before = [ops.convert_to_numpy(weight) for weight in model.trainable_weights]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(1e-2), loss, jit_compile=False)
    loss = model.train_on_batch(pictures(model, 16), np.arange(16) % 10)
    assert np.isfinite(loss)
    for weight, old in zip(model.trainable_weights, before, strict=True):
        new = ops.convert_to_numpy(weight)
        assert np.isfinite(new).all(), weight.path
        assert np.any(new != old), f"{weight.path} did not move"


@every_model_by_size
def test_save_and_reload(name, tmp_path):
    model = cifar_zoo.create_model(name)
    x = pictures(model)
    expected = ops.convert_to_numpy(model(x))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(ops.convert_to_numpy(again(x)), expected)
    model.save_weights(tmp_path / "model.weights.h5")
    again = cifar_zoo.create_model(name, weights=str(tmp_path / "model.weights.h5"))
    np.testing.assert_array_equal(ops.convert_to_numpy(again(x)), expected)


@every_model_by_size
def test_without_the_top(name):
    features = cifar_zoo.create_model(name, include_top=False)
    assert len(features.output_shape) == 4
    channels = features.output_shape[-1]
    x = pictures(features)
    pooled = {pooling: cifar_zoo.create_model(name, include_top=False, pooling=pooling) for pooling in ("avg", "max")}
    for pooling, model in pooled.items():
        model.set_weights(features.get_weights())
        assert model.output_shape == (None, channels)
        reduce = np.mean if pooling == "avg" else np.max
        expected = reduce(ops.convert_to_numpy(features(x)), axis=(1, 2))
        np.testing.assert_allclose(ops.convert_to_numpy(model(x)), expected, rtol=1e-4, atol=1e-5)


@every_model_by_size
def test_other_sizes_and_numbers_of_classes(name):
    side = cifar_zoo.model_info(name).input_shape[0] + 16
    model = cifar_zoo.create_model(name, input_shape=(side, side, 1), classes=7, classifier_activation=None)
    out = ops.convert_to_numpy(model(pictures(model)))
    assert out.shape == (2, 7) and np.isfinite(out).all()
    assert not np.allclose(out.sum(axis=1), 1, atol=1e-3)  # logits, not probabilities


@every_model_by_size
def test_the_logits_are_those_of_the_probabilities(name):
    whole = cifar_zoo.create_model(name)
    raw = cifar_zoo.create_model(name, classifier_activation=None)
    raw.set_weights(whole.get_weights())
    x = pictures(whole)
    scores = ops.convert_to_numpy(raw(x)).astype("float64")
    expected = np.exp(scores - scores.max(axis=1, keepdims=True))
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(ops.convert_to_numpy(whole(x)), expected, rtol=1e-4, atol=1e-6)
    assert scores.min() < 0  # no ReLU on the class scores
