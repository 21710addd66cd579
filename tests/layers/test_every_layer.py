"""Requirements on every layer: one row per layer, with the same checks for all."""

import inspect
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import pytest
from keras import ops

from cifar_zoo import layers

BATCH = 16


class PublishedRow(NamedTuple):
    """How to make a layer, with a seed if it draws, and what it takes and gives."""

    make: Callable[[], keras.layers.Layer]
    shapes: tuple | list = (12, 10, 4)  # of an input without the batch; a list for a layer that takes a list
    dtypes: tuple = (None,)  # of each output; None for the layer's compute dtype
    any_rank: str = "never"  # when it takes inputs of other ranks: "never", "until built" or "always"


EVERY_LAYER = {
    "Activation": PublishedRow(lambda: layers.Activation("gelu"), any_rank="always"),
    "AlternatingFlip": PublishedRow(lambda: layers.AlternatingFlip(1, seed=1)),
    "BatchNormalization": PublishedRow(
        lambda: layers.BatchNormalization(momentum=0.8, epsilon=1e-3), any_rank="until built"
    ),
    "CBAM": PublishedRow(lambda: layers.CBAM(2, 3)),
    "ChannelAttention": PublishedRow(lambda: layers.ChannelAttention(2)),
    "ChannelShuffle": PublishedRow(lambda: layers.ChannelShuffle(2)),
    "ClassScores": PublishedRow(lambda: layers.ClassScores(["a", "b", "c", "d"]), any_rank="always"),
    "Conv2D": PublishedRow(lambda: layers.Conv2D(6, 1), (6, 5, 4)),
    "CutMix": PublishedRow(lambda: layers.CutMix(seed=1), dtypes=(None, "float32")),
    "Cutout": PublishedRow(lambda: layers.Cutout(4, fill=(1, 2, 3), seed=1), (12, 10, 3)),
    "DepthwiseConv2D": PublishedRow(lambda: layers.DepthwiseConv2D(5, 2, "same", depth_multiplier=2)),
    "DrawColumn": PublishedRow(lambda: layers.DrawColumn(3, seed=1), dtypes=("int32",)),
    "FractalJoin": PublishedRow(lambda: layers.FractalJoin(0.4, seed=1), [(8, 8, 4)] * 3),
    "GroupedConv2D": PublishedRow(lambda: layers.GroupedConv2D(6, 3, groups=2)),
    "LocalResponseNormalization": PublishedRow(lambda: layers.LocalResponseNormalization(4, 1.0, 0.001 / 9, 0.75)),
    "MaxPooling2D": PublishedRow(lambda: layers.MaxPooling2D(3, 2, padding="same")),
    "Mixup": PublishedRow(lambda: layers.Mixup(1.0, seed=1), dtypes=(None, "float32")),
    "PadChannels": PublishedRow(lambda: layers.PadChannels(7)),
    "PatchWhitening": PublishedRow(lambda: layers.PatchWhitening()),
    "PerImageStandardization": PublishedRow(lambda: layers.PerImageStandardization()),
    "RandomAffine": PublishedRow(lambda: layers.RandomAffine(15, 0.1, 5, 0.1, seed=1)),
    "RandomBrightness": PublishedRow(lambda: layers.RandomBrightness(0.5, seed=1)),
    "RandomContrast": PublishedRow(lambda: layers.RandomContrast(0.2, 1.8, seed=1)),
    "RandomCrop": PublishedRow(lambda: layers.RandomCrop(8, 9, padding=2, seed=1)),
    "RandomFlip": PublishedRow(lambda: layers.RandomFlip(seed=1)),
    "SelectiveKernel": PublishedRow(lambda: layers.SelectiveKernel(2, 4), [(8, 8, 4)] * 3),
    "ShakeDrop": PublishedRow(lambda: layers.ShakeDrop(0.5, seed=1)),
    "ShakeShake": PublishedRow(lambda: layers.ShakeShake(seed=1), [(8, 8, 4)] * 2),
    "SpatialAttention": PublishedRow(lambda: layers.SpatialAttention(3)),
    "SplitChannels": PublishedRow(lambda: layers.SplitChannels(2), dtypes=(None, None)),
    "SqueezeExcite": PublishedRow(lambda: layers.SqueezeExcite(2)),
    "StochasticDepth": PublishedRow(lambda: layers.StochasticDepth(0.5, seed=1)),
    "TrivialAugmentWide": PublishedRow(lambda: layers.TrivialAugmentWide(seed=1), (12, 10, 3)),
}


RANDOM_LAYERS = [name for name, row in EVERY_LAYER.items() if "seed" in row.make().get_config()]


def make(name, **config):
    """The layer of a row, with further entries of its configuration."""
    layer = EVERY_LAYER[name].make()
    return type(layer).from_config({**layer.get_config(), **config})


def own_arguments(name):
    """The names of the arguments of a layer, without those of every layer."""
    arguments = inspect.signature(getattr(layers, name).__init__).parameters.values()
    return [
        argument.name for argument in arguments if argument.name != "self" and argument.kind != argument.VAR_KEYWORD
    ]


def shapes(name, *batch):
    """What the layer takes: the shapes of its input or of its list of inputs, with the batch if one is given."""
    own = EVERY_LAYER[name].shapes
    return [(*batch, *shape) for shape in own] if isinstance(own, list) else (*batch, *own)


def map_shapes(function, wanted):
    return [function(shape) for shape in wanted] if isinstance(wanted, list) else function(wanted)


def values(name, batch=BATCH, seed=0):
    """Random inputs; all about 1 in size, so that one tolerance does for all layers."""
    random = np.random.default_rng(seed)
    return map_shapes(lambda shape: random.normal(size=shape).astype("float32"), shapes(name, batch))


def mode(layer, training):
    """`training=...` for a layer that takes it."""
    return {"training": training} if "training" in inspect.signature(layer.call).parameters else {}


def outputs(result):
    """The outputs of a layer, which may be one or several, as a list."""
    return list(result) if isinstance(result, (tuple, list)) else [result]


def numbers(result):
    """The same as arrays; bfloat16, which NumPy does not know, as float32."""
    results = [ops.cast(x, "float32") if "bfloat16" in str(x.dtype) else x for x in outputs(result)]
    return [ops.convert_to_numpy(x) for x in results]


def assert_equal(found, expected):
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def build_and_fill(layer, name):
    """The same weights for each layer of a row, not the initial ones, which may hide one that has no effect."""
    layer.build(map_shapes(tuple, shapes(name, None)))
    random = np.random.default_rng(7)
    for weight in layer.weights:
        if "seed_generator" not in weight.path:
            weight.assign(random.uniform(0.5, 1, weight.shape))


def test_every_layer_is_in_the_table():
    named = [getattr(layers, name) for name in layers.__all__]
    classes = [kind.__name__ for kind in named if inspect.isclass(kind) and issubclass(kind, keras.layers.Layer)]
    assert sorted(EVERY_LAYER) == sorted(classes)


@pytest.mark.parametrize("name", EVERY_LAYER)
def test_configuration_makes_the_same_layer(name):
    layer = EVERY_LAYER[name].make()
    config = layer.get_config()
    assert type(layer).from_config(config).get_config() == config
    assert keras.saving.get_registered_name(type(layer)) == f"cifar_zoo>{name}"
    assert set(own_arguments(name)) <= set(config)


@pytest.mark.parametrize("name", EVERY_LAYER)
def test_shapes_and_dtypes_are_known_without_values(name):
    for policy in ("float32", "mixed_bfloat16"):
        layer = make(name, dtype=policy)
        dtypes = [dtype or layer.compute_dtype for dtype in EVERY_LAYER[name].dtypes]
        symbols = outputs(layer(map_shapes(keras.Input, shapes(name))))
        assert [symbol.dtype for symbol in symbols] == dtypes
        for batch, training in ((BATCH, False), (BATCH, True), (1, True)):
            results = outputs(layer(values(name, batch), **mode(layer, training)))
            assert [keras.backend.standardize_dtype(result.dtype) for result in results] == dtypes
            found = [tuple(result.shape) for result in results]
            computed = layer.compute_output_shape(shapes(name, batch))
            assert found == [tuple(shape) for shape in (computed if len(found) > 1 else [computed])]
            assert found == [(batch if symbol.shape[0] is None else -1, *symbol.shape[1:]) for symbol in symbols]


@pytest.mark.parametrize("name", EVERY_LAYER)
def test_bfloat16_is_close_to_float32(name):
    full, half = make(name, dtype="float32"), make(name, dtype="mixed_bfloat16")
    build_and_fill(full, name)
    build_and_fill(half, name)
    x = values(name)
    for a, b in zip(numbers(half(x)), numbers(full(x)), strict=True):
        np.testing.assert_allclose(a, b, atol=0.02 * np.abs(b).max() + 0.02)


@pytest.mark.parametrize("name", EVERY_LAYER)
def test_inference_is_deterministic(name):
    layer = make(name)
    x = values(name)
    first = numbers(layer(x))
    assert_equal(numbers(layer(x, **mode(layer, False))), first)
    layer(x, **mode(layer, True))
    if name in RANDOM_LAYERS:
        assert_equal(numbers(layer(x)), first)


@pytest.mark.parametrize("name", RANDOM_LAYERS)
def test_draws_repeat_with_the_seed_and_advance(name):
    first, second = make(name), make(name)
    x = values(name)
    drawn = numbers(first(x, training=True))
    assert_equal(numbers(second(x, training=True)), drawn)
    again = numbers(first(x, training=True))
    assert any(not np.array_equal(a, b) for a, b in zip(again, drawn, strict=True))
    different = numbers(make(name, seed=make(name).seed + 1)(x, training=True))
    assert any(not np.array_equal(a, b) for a, b in zip(different, drawn, strict=True))


@pytest.mark.parametrize("axes", ["one more", "one fewer"])
@pytest.mark.parametrize("name", EVERY_LAYER)
def test_inputs_of_another_rank_are_refused(name, axes):
    wrong = map_shapes(lambda shape: (*shape, 2) if axes == "one more" else shape[:-1], shapes(name, 3))
    new, built = make(name), make(name)
    built(values(name))
    for layer in {"never": (new, built), "until built": (built,), "always": ()}[EVERY_LAYER[name].any_rank]:
        with pytest.raises(ValueError) as caught:
            layer(map_shapes(np.ones, wrong))
        assert str(wrong[0] if isinstance(wrong, list) else wrong) in str(caught.value)


def jitted(layer, name):
    """The layer in training, in a compiled function of the backend (TensorFlow: of unknown batch size)."""
    options = mode(layer, True)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        signature = map_shapes(tf.TensorSpec, shapes(name, None))
        return tf.function(lambda x: layer(x, **options), input_signature=[signature], jit_compile=False)
    if keras.backend.backend() == "jax":
        import jax

        def call(x):
            trainable, rest = ([v.value for v in own] for own in (layer.trainable_variables, others))
            result, updated = stateless(trainable, rest, x)
            for variable, value in zip(others, updated, strict=True):
                variable.assign(value)
            return result

        others = layer.non_trainable_variables
        stateless = jax.jit(lambda trainable, rest, x: layer.stateless_call(trainable, rest, x, **options))
        return call
    return lambda x: layer(x, **options)


@pytest.mark.parametrize("name", EVERY_LAYER)
def test_compiled_is_as_eager(name):
    eager, compiled = make(name), make(name)
    build_and_fill(eager, name)
    build_and_fill(compiled, name)
    function = jitted(compiled, name)
    for batch in (BATCH, 1):
        x = map_shapes(ops.convert_to_tensor, values(name, batch))
        for a, b in zip(numbers(function(x)), numbers(eager(x, **mode(eager, True))), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def stages(model, x, state):
    """What a model gives: at inference, in its first training step, and in the one after `state`, its variables."""
    yield model(x, training=False)
    yield model(x, training=True)
    for variable, value in zip(model.variables, state(), strict=True):
        variable.assign(value)
    yield model(x, training=True)


RELOAD = """
import sys
from pathlib import Path
import keras, numpy as np
from cifar_zoo.layers import *  # Keras finds the classes that are loaded

models = {path: keras.models.load_model(path) for path in sorted(Path(sys.argv[2]).glob("*.keras"))}
sys.path.insert(0, sys.argv[1])
from test_every_layer import numbers, stages

for path, model in models.items():
    with np.load(path.with_suffix(".npz")) as file:
        x = [file[f"x{i}"] for i in range(len(model.inputs))]
        state = [file[f"state{i}"] for i in range(len(model.variables))]
    results = [array for result in stages(model, x if len(x) > 1 else x[0], lambda: state) for array in numbers(result)]
    np.savez(path.with_suffix(".results.npz"), *results)
"""


def test_saved_models_go_on_in_another_process(tmp_path):
    """The same outputs and the same draws. Like that of Keras' dropout, the state of the draws is not in the file of a
    model, but it is among the variables, which the checkpoints of a training hold.
    """
    expected = {}
    for name in EVERY_LAYER:
        layer, x = make(name), values(name)
        build_and_fill(layer, name)
        inputs = map_shapes(keras.Input, shapes(name))
        model = keras.Model(inputs, layer(inputs))
        model.save(tmp_path / f"{name}.keras")
        state = []

        def checkpoint(model=model, x=x, state=state):
            model(x, training=True)
            state += [ops.convert_to_numpy(variable) for variable in model.variables]
            return state

        expected[name] = [array for result in stages(model, x, checkpoint) for array in numbers(result)]
        arrays = {f"x{i}": array for i, array in enumerate(outputs(x))}
        np.savez(tmp_path / f"{name}.npz", **arrays, **{f"state{i}": value for i, value in enumerate(state)})
    done = subprocess.run(
        [sys.executable, "-c", RELOAD, str(Path(__file__).parent), str(tmp_path)],
        env={**os.environ, "KERAS_BACKEND": keras.backend.backend()},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for name, results in expected.items():
        with np.load(tmp_path / f"{name}.results.npz") as found:
            assert_equal([found[f"arr_{i}"] for i in range(len(found.files))], results)


@pytest.mark.parametrize("name", EVERY_LAYER)
def test_the_docstring_is_complete(name):
    text = inspect.getdoc(getattr(layers, name))
    for part in ("Call arguments:", "Returns:", "Raises:", "Example:"):
        assert part in text
    for argument in inspect.signature(getattr(layers, name).call).parameters:
        assert argument in ("self", "mask") or f"    {argument}: " in text
    for argument in own_arguments(name):
        assert argument in text.split("Call arguments:")[0]


@pytest.fixture
def settings():
    """Keras' global settings, put back afterwards."""
    config = keras.config
    before = config.floatx(), config.dtype_policy(), config.image_data_format()
    yield config
    config.set_floatx(before[0])
    config.set_dtype_policy(before[1])
    config.set_image_data_format(before[2])


@pytest.mark.parametrize("policy", ["float64", "float16", "bfloat16"])
@pytest.mark.parametrize("name", EVERY_LAYER)
def test_every_dtype_policy(name, policy, settings):
    """At inference close to float32, and in training of the dtype that the policy asks for."""
    if policy == "float64" and keras.backend.backend() == "jax":
        pytest.skip("JAX has no float64 unless it is told so before its first use")
    x, full = values(name), EVERY_LAYER[name].make()
    build_and_fill(full, name)
    expected = numbers(full(x))
    if policy == "float64":
        settings.set_floatx(policy)
    settings.set_dtype_policy(policy)
    layer = EVERY_LAYER[name].make()
    build_and_fill(layer, name)
    for a, b in zip(numbers(layer(x)), expected, strict=True):
        np.testing.assert_allclose(a, b, atol=0.02 * np.abs(b).max() + 0.02)
    dtypes = [dtype or policy for dtype in EVERY_LAYER[name].dtypes]
    results = outputs(layer(x, **mode(layer, True)))
    assert [keras.backend.standardize_dtype(result.dtype) for result in results] == dtypes
    if "images" in inspect.signature(layer.call).parameters:
        pixels = np.random.default_rng(0).integers(0, 256, shapes(name, BATCH), dtype="uint8")
        assert all(np.isfinite(result).all() for result in numbers(layer(pixels, training=True)))


@pytest.mark.parametrize("name", EVERY_LAYER)
def test_the_global_data_format_has_no_influence(name, settings):
    x, before = values(name), EVERY_LAYER[name].make()
    build_and_fill(before, name)
    expected = numbers(before(x))
    settings.set_image_data_format("channels_first")
    layer = EVERY_LAYER[name].make()
    build_and_fill(layer, name)
    assert layer.compute_output_shape(shapes(name, BATCH)) == before.compute_output_shape(shapes(name, BATCH))
    for a, b in zip(numbers(layer(x)), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


INTEGER_ARGUMENTS = {
    *("channels", "columns", "depth_multiplier", "depth_radius", "filters", "groups", "height"),
    *("kernel_size", "min_units", "padding", "pool_size", "ratio", "size", "steps_per_epoch"),
    *("strides", "width"),
}


@pytest.mark.parametrize("name", EVERY_LAYER)
def test_numpy_integers_are_integers_and_booleans_are_not(name):
    layer = EVERY_LAYER[name].make()
    config = layer.get_config()
    for key in INTEGER_ARGUMENTS & set(own_arguments(name)):
        if isinstance(config[key], str):  # the padding of a convolution
            continue
        numpy = np.array(config[key])  # of one integer or of two
        made = type(layer).from_config({**config, key: numpy if numpy.ndim else numpy[()]}).get_config()
        assert made == config
        assert type(made[key]) is type(config[key])
        with pytest.raises(ValueError, match=f"{key} must be .*, not True"):
            type(layer)(**{**config, key: True})
