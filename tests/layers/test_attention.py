"""The attention layers against plain arithmetic: outputs, numerical gradients, parameters, invalid arguments."""

import keras
import numpy as np
import pytest
from gradients import value_and_gradients
from keras import ops

from cifar_zoo import layers

RANDOM = np.random.default_rng(0)

ACTIVATIONS = {
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "hard_sigmoid": lambda x: np.clip(x + 3, 0, 6) / 6,
    "swish": lambda x: x / (1 + np.exp(-x)),
}
relu, sigmoid = ACTIVATIONS["relu"], ACTIVATIONS["sigmoid"]


def squeeze_excite(x, w1, b1, w2, b2, activation="relu", gate_activation="sigmoid"):
    hidden = ACTIVATIONS[activation](x.mean((1, 2)) @ w1 + b1)
    return x * ACTIVATIONS[gate_activation](hidden @ w2 + b2)[:, None, None]


def channel_attention(x, w1, b1, w2, b2):
    gates = [relu(pooled @ w1 + b1) @ w2 + b2 for pooled in (x.mean((1, 2)), x.max((1, 2)))]
    return x * sigmoid(gates[0] + gates[1])[:, None, None]


def spatial_attention(x, kernel, bias):
    size = len(kernel)
    edge = ((size - 1) // 2, size // 2)
    pooled = np.pad(np.stack([x.mean(-1), x.max(-1)], -1), ((0, 0), edge, edge, (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(pooled, (size, size), (1, 2))
    return x * sigmoid(np.einsum("bhwcij,ijco->bhwo", windows, kernel) + bias)


def cbam(x, w1, b1, w2, b2, kernel, bias):
    return spatial_attention(channel_attention(x, w1, b1, w2, b2), kernel, bias)


def selective_kernel(*arrays, branches):
    x, (reduce, gamma, beta, select, bias) = np.stack(arrays[:branches]), arrays[branches:]
    fused = x.sum(0).mean((1, 2)) @ reduce
    fused = (fused - fused.mean(0)) / np.sqrt(fused.var(0) + 1e-3) * gamma + beta  # in training
    scores = np.exp(relu(fused) @ select + bias).reshape(x.shape[1], branches, x.shape[-1])
    weights = scores / scores.sum(1, keepdims=True)
    return np.einsum("kbhwc,bkc->bhwc", x, weights)


CASES = {
    "SqueezeExcite": (lambda **o: layers.SqueezeExcite(4, **o), 1, squeeze_excite),
    "SqueezeExcite, hard": (
        lambda **o: layers.SqueezeExcite(units=3, activation="relu6", gate_activation="hard_sigmoid", **o),
        1,
        lambda *arrays: squeeze_excite(*arrays, "relu6", "hard_sigmoid"),
    ),
    "SqueezeExcite, swish": (
        lambda **o: layers.SqueezeExcite(2, activation="swish", **o),
        1,
        lambda *arrays: squeeze_excite(*arrays, "swish"),
    ),
    "SqueezeExcite, no bias": (
        lambda **o: layers.SqueezeExcite(2, use_bias=False, **o),
        1,
        lambda x, w1, w2: squeeze_excite(x, w1, 0, w2, 0),
    ),
    "ChannelAttention": (lambda **o: layers.ChannelAttention(2, **o), 1, channel_attention),
    "SpatialAttention": (lambda **o: layers.SpatialAttention(**o), 1, spatial_attention),
    "SpatialAttention, even": (lambda **o: layers.SpatialAttention(4, **o), 1, spatial_attention),
    "CBAM": (lambda **o: layers.CBAM(2, 3, **o), 1, cbam),
    "SelectiveKernel of two": (
        lambda **o: layers.SelectiveKernel(4, min_units=5, **o),
        2,
        lambda *arrays: selective_kernel(*arrays, branches=2),
    ),
    "SelectiveKernel of three": (
        lambda **o: layers.SelectiveKernel(2, min_units=3, **o),
        3,
        lambda *arrays: selective_kernel(*arrays, branches=3),
    ),
}


def inputs_and_weights(layer, inputs):
    """Random inputs, and random weights in a built layer, biases among them."""
    x = [RANDOM.normal(size=(5, 4, 3, 8)).astype("float32") for _ in range(inputs)]
    layer.build([array.shape for array in x] if inputs > 1 else x[0].shape)
    weights = [RANDOM.normal(size=variable.shape).astype("float32") for variable in layer.trainable_variables]
    for variable, weight in zip(layer.trainable_variables, weights, strict=True):
        variable.assign(weight)
    return x, weights


def gradients_by_differences(function, arrays):
    """The gradient of a scalar function with respect to each element of each array."""
    arrays = [array.astype("float64") for array in arrays]
    gradients = [np.empty_like(array) for array in arrays]
    for array, gradient in zip(arrays, gradients, strict=True):
        for place in np.ndindex(array.shape):
            value = array[place]
            array[place] = value + 1e-6
            above = function(*arrays)
            array[place] = value - 1e-6
            below = function(*arrays)
            array[place] = value
            gradient[place] = (above - below) / 2e-6
    return gradients


@pytest.mark.parametrize("name", CASES)
def test_outputs_and_gradients(name):
    make, inputs, reference = CASES[name]
    layer = make()
    x, weights = inputs_and_weights(layer, inputs)
    cotangent = RANDOM.normal(size=x[0].shape).astype("float32")
    expected = reference(*(array.astype("float64") for array in (*x, *weights)))
    differences = gradients_by_differences(lambda *arrays: (reference(*arrays) * cotangent).sum(), [*x, *weights])
    found = value_and_gradients(layer, x, cotangent)
    for ours, theirs in zip(found, [expected, *differences], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4 * np.abs(theirs).max())


@pytest.mark.parametrize("name", CASES)
def test_bfloat16_is_close_to_float32(name):
    make, inputs, _ = CASES[name]
    full, half = make(), make(dtype="mixed_bfloat16")
    x, weights = inputs_and_weights(full, inputs)
    inputs_and_weights(half, inputs)
    for variable, weight in zip(half.trainable_variables, weights, strict=True):
        assert variable.dtype == "float32"
        variable.assign(weight)
    result = half(x if inputs > 1 else x[0])
    assert keras.backend.standardize_dtype(result.dtype) == "bfloat16"
    expected = ops.convert_to_numpy(full(x if inputs > 1 else x[0]))
    np.testing.assert_allclose(ops.convert_to_numpy(ops.cast(result, "float32")), expected, atol=0.1)


def parameters(layer, shape):
    layer.build(shape)
    return layer.count_params()


def test_parameters():
    shape = (None, 8, 8, 64)
    assert parameters(layers.SqueezeExcite(16), shape) == (64 * 4 + 4) + (4 * 64 + 64)
    assert parameters(layers.SqueezeExcite(16, use_bias=False), shape) == 2 * 64 * 4
    assert parameters(layers.SqueezeExcite(16, units=10), shape) == (64 * 10 + 10) + (10 * 64 + 64)
    assert parameters(layers.ChannelAttention(8), shape) == (64 * 8 + 8) + (8 * 64 + 64)
    assert parameters(layers.SpatialAttention(7), shape) == 7 * 7 * 2 + 1
    assert parameters(layers.CBAM(8, 5), shape) == (64 * 8 + 8) + (8 * 64 + 64) + 5 * 5 * 2 + 1
    # Batch normalization has four numbers a unit.
    assert parameters(layers.SelectiveKernel(), [shape] * 2) == 64 * 32 + 4 * 32 + (32 * 2 * 64 + 2 * 64)
    assert parameters(layers.SelectiveKernel(1), [shape] * 3) == 64 * 64 + 4 * 64 + (64 * 3 * 64 + 3 * 64)


@pytest.mark.parametrize("training", [False, True])
def test_the_weights_of_selective_kernel_sum_to_one_across_branches(training):
    """Branches in another order have the same sum and so the same weights: over all turns, each meets each weight."""
    layer = layers.SelectiveKernel(2, min_units=3)
    (a, b, c), _ = inputs_and_weights(layer, 3)
    turns = [layer(branches, training=training) for branches in ([a, b, c], [b, c, a], [c, a, b])]
    turns = [ops.convert_to_numpy(turn) for turn in turns]
    np.testing.assert_allclose(sum(turns), a + b + c, rtol=1e-4, atol=1e-4)
    assert np.abs(turns[0] - turns[1]).max() > 0.1  # the weights differ from one another


def test_selective_kernel_uses_moving_statistics_at_inference():
    layer = layers.SelectiveKernel(2, min_units=3)
    x, _ = inputs_and_weights(layer, 2)
    alone = ops.convert_to_numpy(layer([branch[:1] for branch in x]))
    np.testing.assert_allclose(alone, ops.convert_to_numpy(layer(x))[:1], rtol=1e-5, atol=1e-5)
    fused = sum(x).mean((1, 2)) @ ops.convert_to_numpy(layer.reduce.kernel)
    layer(x, training=True)
    moving = ops.convert_to_numpy(layer.normalization.moving_mean)
    np.testing.assert_allclose(moving, 0.1 * fused.mean(0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_names_of_the_parts_begin_with_that_of_the_layer(name):
    make, inputs, _ = CASES[name]
    layer = make(name="stage1_attention")
    inputs_and_weights(layer, inputs)
    parts = list(layer._flatten_layers(include_self=False))
    assert parts and all(part.name.startswith("stage1_attention_") for part in parts)
    assert all(part.get_build_config()["input_shape"] for part in parts)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: layers.SqueezeExcite(0), "ratio must be a positive integer, not 0"),
        (lambda: layers.SqueezeExcite(0.25), "ratio must be a positive integer, not 0.25"),
        (lambda: layers.SqueezeExcite(units=0), "units must be a positive integer or None, not 0"),
        (lambda: layers.SqueezeExcite(activation="rely"), "rely"),
        (lambda: layers.SqueezeExcite(gate_activation="sigmoidal"), "sigmoidal"),
        (lambda: layers.ChannelAttention(-1), "ratio must be a positive integer, not -1"),
        (lambda: layers.SpatialAttention(0), "kernel_size must be a positive integer, not 0"),
        (lambda: layers.SpatialAttention((7, 7)), r"kernel_size must be a positive integer, not \(7, 7\)"),
        (lambda: layers.CBAM(0), "ratio must be a positive integer, not 0"),
        (lambda: layers.CBAM(kernel_size=-7), "kernel_size must be a positive integer, not -7"),
        (lambda: layers.SelectiveKernel(0), "ratio must be a positive integer, not 0"),
        (lambda: layers.SelectiveKernel(min_units=0), "min_units must be a positive integer, not 0"),
    ],
)
def test_wrong_values_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("make", [layers.SqueezeExcite, layers.ChannelAttention, layers.CBAM])
def test_a_ratio_that_leaves_no_unit_is_refused(make):
    with pytest.raises(ValueError, match="at most the number of channels, 8, not 16"):
        make(16)(np.ones((2, 4, 4, 8)))


@pytest.mark.parametrize("make", [layers.SqueezeExcite, layers.ChannelAttention, layers.SpatialAttention, layers.CBAM])
def test_inputs_of_another_rank_are_refused(make):
    for shape in ((4, 4, 16), (2, 4, 4, 4, 16)):
        with pytest.raises(ValueError, match=str(shape)[1:-1]):
            make()(np.ones(shape))


@pytest.mark.parametrize(
    "inputs, message",
    [
        (np.ones((2, 4, 4, 16)), r"two or more branches, not of shape \(2, 4, 4, 16\)"),
        ([np.ones((2, 4, 4, 16))], r"two or more branches, not of shape \[\(2, 4, 4, 16\)\]"),
        ([np.ones((2, 4, 4, 16)), np.ones((2, 4, 4, 8))], r"the same shape, not .*\(2, 4, 4, 8\)"),
        ([np.ones((2, 4, 4, 16)), np.ones((2, 1, 1, 16))], r"the same shape, not .*\(2, 1, 1, 16\)"),
        ([np.ones((2, 4, 16))] * 2, r"of rank 4 .* not .*\(2, 4, 16\)"),
    ],
)
def test_wrong_branches_are_refused(inputs, message):
    with pytest.raises(ValueError, match=message):
        layers.SelectiveKernel()(inputs)


def test_another_number_of_branches_is_refused():
    layer = layers.SelectiveKernel()
    branch = np.ones((2, 4, 4, 16))
    layer([branch] * 2)
    for wrong in ([branch] * 3, [branch], [branch[:, 0]] * 2):
        with pytest.raises(ValueError, match=r"2, 4,( 4,)? 16|expects 2 input|3 input|1 input"):
            layer(wrong)
