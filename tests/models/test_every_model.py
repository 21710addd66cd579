"""Requirements on every registered network."""

import gc
import re

import keras
import numpy as np
import pytest
from keras import ops

import cifar_zoo
from cifar_zoo.backend.abstract import without_memory
from cifar_zoo.evaluation.costs import abstract_model, layer_table

NAMES = cifar_zoo.list_models()
DEEP = {  # small, but slow to build
    "densenet100", "inception_resnet_v2", "inception_v1", "inception_v2", "inception_v3", "resnet32", "resnet44",
    "resnet56", "resnet110", "xception",
}  # fmt: skip
QUICK = [name for name in NAMES if cifar_zoo.model_info(name).params < 1_600_000 and name not in DEEP]
NAMES_QUICK_OR_FULL = [name if name in QUICK else pytest.param(name, marks=pytest.mark.full) for name in NAMES]


@pytest.fixture(scope="module", params=NAMES)
def abstract(request):
    """Each network without its weights, built once for all tests of its structure."""
    return abstract_model(request.param)


@pytest.fixture(scope="module", params=NAMES_QUICK_OR_FULL)
def network(request):
    """Each network, built once for all tests that use its arithmetic; the large ones with --full."""
    return cifar_zoo.create_model(request.param)


@pytest.fixture(autouse=True)
def no_garbage():
    """Networks hold themselves in cycles, and the largest takes 2.3 GB."""
    yield
    gc.collect()


def images(model, count=2):
    return np.random.default_rng(0).integers(0, 256, (count, *model.input_shape[1:]), dtype="uint8")


def copy_weights(source, target):
    """One at a time: all those of the largest network together take 2.3 GB more."""
    for old, new in zip(source.weights, target.weights, strict=True):
        new.assign(old)


def run(model, x):
    return ops.convert_to_numpy(model(x))


def count(weights):
    return sum(int(np.prod(weight.shape)) for weight in weights)


def test_parameters(abstract, request):
    assert abstract.name == request.node.callspec.params["abstract"]
    info = cifar_zoo.model_info(abstract.name)
    assert (count(abstract.weights), count(abstract.trainable_weights)) == (info.params, info.trainable)
    assert abstract.input_shape == (None, *info.input_shape)
    assert abstract.output_shape == (None, 10)


def test_layers_have_fixed_names_and_shapes_whatever_keras_is_set_to(abstract, channels_first):
    info = cifar_zoo.model_info(abstract.name)
    again = abstract_model(abstract.name)  # the other one was built with channels_last
    assert sum(row.params for row in layer_table(again)) == info.params
    assert (again.input_shape, again.output_shape) == ((None, *info.input_shape), (None, 10))
    assert layer_table(again) == layer_table(abstract)
    names = [layer.name for layer in abstract.layers]
    assert names == [layer.name for layer in again.layers]
    assert len(set(names)) == len(names)
    assert "classifier" in names
    paths = [weight.path for weight in abstract.weights]
    assert paths == [weight.path for weight in again.weights]
    assert len(set(paths)) == len(paths)


def test_config_round_trip(abstract, request):
    if abstract.name not in QUICK and not request.config.option.full:
        pytest.skip("takes long; runs with --full")
    again = without_memory(lambda: keras.Model.from_config(abstract.get_config()))
    assert again.get_config() == abstract.get_config()
    assert [weight.shape for weight in again.weights] == [weight.shape for weight in abstract.weights]


@pytest.mark.parametrize("name", NAMES)
def test_the_docstring_says_what_it_is(name):
    info = cifar_zoo.model_info(name)
    assert re.fullmatch(r"[A-Za-z0-9].*\.", info.summary), info.summary
    assert info.build.__annotations__["return"] in (keras.Model, "keras.Model")


def test_stages_for_a_backbone(abstract):
    model, trunk = abstract_model(abstract.name, features=True), abstract_model(abstract.name, include_top=False)
    shapes = {stage: end.shape for stage, end in model.output.items()}
    assert list(shapes) == [f"stage{number}" for number in range(1, len(shapes) + 1)]
    sides = [shape[1] for shape in shapes.values()]
    assert sides == sorted(set(sides), reverse=True), "each stage has a smaller map than the one before"
    assert list(shapes.values())[-1] == trunk.output_shape


def test_larger_grey_images_and_other_classes(abstract, request):
    for side in (48, 64) if request.config.option.full else (48,):
        model = abstract_model(abstract.name, input_shape=(side, side, 1), classes=7)
        assert model.input_shape == (None, side, side, 1)
        assert model.output_shape == (None, 7)
    assert count(model.weights) != count(abstract.weights)


def test_probabilities_in_float32(network):
    x = images(network)
    out = run(network, x)
    assert out.shape == (2, 10) and out.dtype == np.float32
    assert np.isfinite(out).all()
    np.testing.assert_allclose(out.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(out, run(network, x.astype("float32")))  # uint8 pixels are the same as floats


def test_probabilities_in_bfloat16(network):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = cifar_zoo.create_model(network.name)
    finally:
        keras.config.set_dtype_policy(before)
    out = run(model, images(model))
    assert out.shape == (2, 10) and out.dtype == np.float32
    assert np.isfinite(out).all()
    np.testing.assert_allclose(out.sum(axis=1), 1, atol=1e-5)


def test_the_logits_are_those_of_the_probabilities(network):
    raw = cifar_zoo.create_model(network.name, classifier_activation=None)
    copy_weights(network, raw)
    x = images(network)
    scores = run(raw, x).astype("float64")
    expected = np.exp(scores - scores.max(axis=1, keepdims=True))
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(run(network, x), expected, rtol=1e-4, atol=1e-6)
    assert scores.min() < 0  # no ReLU on the class scores


def test_without_the_top(network):
    features = cifar_zoo.create_model(network.name, include_top=False)
    assert len(features.output_shape) == 4
    x = images(features)
    for pooling, reduce in (("avg", np.mean), ("max", np.max)):
        model = cifar_zoo.create_model(network.name, include_top=False, pooling=pooling)
        copy_weights(features, model)
        assert model.output_shape == (None, features.output_shape[-1])
        expected = reduce(run(features, x), axis=(1, 2))
        np.testing.assert_allclose(run(model, x), expected, rtol=1e-4, atol=1e-5)
        del model
        gc.collect()


def test_save_and_reload(network, tmp_path):
    """Bit-equal from a whole file and from a weights file; with a new head and as a backbone the trunk is the same."""
    x = images(network)
    expected = run(network, x)
    network.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(run(keras.models.load_model(tmp_path / "model.keras"), x), expected)
    weights = str(tmp_path / "model.weights.h5")
    network.save_weights(weights)
    np.testing.assert_array_equal(run(cifar_zoo.create_model(network.name, weights=weights), x), expected)

    for options in ({"classes": 3}, {"features": True}):
        model = cifar_zoo.create_model(network.name, weights=weights, **options)
        for layer in model.layers:
            if not layer.name.startswith("classifier"):
                for new, old in zip(layer.weights, network.get_layer(layer.name).weights, strict=True):
                    np.testing.assert_array_equal(ops.convert_to_numpy(new), ops.convert_to_numpy(old))
        if "classes" in options:
            assert model.output_shape == (None, 3)
        del model
        gc.collect()


def test_every_trainable_weight_gets_a_gradient_and_moves(network):
    # On logits, as a training does it: saturated probabilities have no gradient.
    model = keras.Model(network.input, network.get_layer("predictions").input)
    before = [ops.convert_to_numpy(weight) for weight in model.trainable_weights]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    one_program = keras.backend.backend() == "jax"  # which otherwise compiles each operation by itself, for minutes
    model.compile(keras.optimizers.SGD(1e-2), loss, jit_compile=one_program)
    assert np.isfinite(model.train_on_batch(images(model, 16), np.arange(16) % 10))
    for weight, old in zip(model.trainable_weights, before, strict=True):
        new = ops.convert_to_numpy(weight)
        assert np.isfinite(new).all(), weight.path
        assert np.any(new != old), f"{weight.path} did not move"
