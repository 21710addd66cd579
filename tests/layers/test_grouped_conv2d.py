"""The grouped convolution against that of PyTorch and of Keras: outputs, gradients, weights."""

import keras
import numpy as np
import pytest
from gradients import BFLOAT16_TOLERANCE, value_and_gradients
from keras import ops

from cifar_zoo import layers
from cifar_zoo.backend import convolution
from cifar_zoo.layers.grouped_conv2d import _groups_in_chunk

RANDOM = np.random.default_rng(0)

# channels, filters, groups, kernel, strides, dilation, padding
CASES = [
    (64, 64, 32, 3, 1, 1, "same"),  # two chunks of 16 groups
    (96, 96, 32, 3, 2, 1, "same"),  # ResNeXt's and DPN's downsampling
    (48, 96, 8, 3, 1, 1, "same"),  # more filters than channels
    (96, 48, 8, 3, 1, 1, "valid"),  # fewer
    (64, 64, 32, 3, 1, 2, "same"),  # SKNet's second branch
    (64, 64, 32, 5, 2, 1, "same"),  # SKNet's second branch where it halves the image
    (64, 64, 32, (1, 3), (2, 1), 1, "valid"),
    (80, 80, 2, 3, 1, 1, "same"),  # a group wider than a chunk
    (40, 80, 40, 3, 1, 1, "same"),  # depthwise
    (12, 24, 1, 3, 1, 1, "same"),  # no groups
]


@pytest.fixture(params=["chunks", "native"])
def way(request, monkeypatch):
    """Both ways on every backend, whichever it would take here."""
    monkeypatch.setattr(convolution, "grouped_conv_is_fast", lambda: request.param == "native")
    return request.param


def conv2d_of_torch(x, kernel, bias, cotangent, groups, strides, dilation, padding):
    """Outputs and gradients as `value_and_gradients` has them, in float64, with TensorFlow's padding."""
    torch = pytest.importorskip("torch")
    leaves = [torch.tensor(array, dtype=torch.float64, requires_grad=True) for array in (x, kernel, bias)]
    images, steps = leaves[0].permute(0, 3, 1, 2), np.broadcast_to(dilation, 2)
    if padding == "same":
        for axis in (2, 3):
            size, stride, reach = x.shape[axis - 1], strides[axis - 2], (kernel.shape[axis - 2] - 1) * steps[axis - 2]
            missing = max((-(-size // stride) - 1) * stride + reach + 1 - size, 0)
            edges = [missing // 2, missing - missing // 2]
            images = torch.nn.functional.pad(images, [0, 0] * (3 - axis) + edges)
    outputs = torch.nn.functional.conv2d(
        images, leaves[1].permute(3, 2, 0, 1), leaves[2], stride=strides, dilation=dilation, groups=groups
    ).permute(0, 2, 3, 1)
    (outputs * torch.tensor(cotangent)).sum().backward()
    return [outputs.detach().numpy(), *(leaf.grad.numpy() for leaf in leaves)]


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("mixed_bfloat16", BFLOAT16_TOLERANCE)])
@pytest.mark.parametrize("channels, filters, groups, kernel, strides, dilation, padding", CASES)
def test_outputs_and_gradients_are_those_of_torch(
    way, dtype, tolerance, channels, filters, groups, kernel, strides, dilation, padding
):
    layer = layers.GroupedConv2D(
        filters,
        kernel,
        strides,
        groups,
        padding=padding,
        dilation_rate=dilation,
        bias_initializer="normal",
        dtype=dtype,
    )
    x = RANDOM.normal(size=(2, 9, 8, channels)).astype("float32")
    layer.build(x.shape)
    cotangent = RANDOM.normal(size=layer.compute_output_shape(x.shape)).astype("float32")
    found = value_and_gradients(layer, [x], cotangent)
    weights = [ops.convert_to_numpy(weight) for weight in (layer.kernel, layer.bias)]
    expected = conv2d_of_torch(x, *weights, cotangent, groups, layer.strides, dilation, padding)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * np.abs(theirs).max())


def test_weights_are_those_of_keras(way):
    x = RANDOM.normal(size=(2, 8, 8, 24)).astype("float32")
    results = []
    for kind in (layers.GroupedConv2D, keras.layers.Conv2D):
        layer = kind(48, 3, groups=8, padding="same", dilation_rate=2, activation="relu")
        layer.build(x.shape)
        random = np.random.default_rng(1)
        layer.set_weights([random.normal(size=weight.shape) for weight in layer.weights])
        results.append(ops.convert_to_numpy(layer(x)))
    np.testing.assert_allclose(*results, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-3), ("mixed_bfloat16", 0.02)])
def test_the_gradient_of_the_bias_holds_for_many_images(dtype, tolerance):
    """It is a sum over all pixels: TensorFlow's BiasAdd, summing bfloat16 in bfloat16, is a third off here."""
    layer = layers.GroupedConv2D(8, 3, groups=2, dtype=dtype)
    layer.build((128, 32, 32, 4))
    cotangent = RANDOM.normal(size=(128, 32, 32, 8)).astype("float32")
    *_, found = value_and_gradients(layer, [np.ones((128, 32, 32, 4), "float32")], cotangent)
    expected = cotangent.sum((0, 1, 2), dtype="float64")
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def test_it_trains(way):
    """In a compiled step, with an unknown batch size: the convolution that made the targets is found again."""
    x = RANDOM.normal(size=(256, 4, 4, 16)).astype("float32")
    truth = layers.GroupedConv2D(16, 3, groups=4)
    y = ops.convert_to_numpy(truth(x))
    model = keras.Sequential([keras.Input((4, 4, 16)), layers.GroupedConv2D(16, 3, groups=4)])
    model.compile(keras.optimizers.Adam(0.03), "mse")
    model.fit(x, y, batch_size=60, epochs=30, verbose=0)  # the last batch is smaller
    np.testing.assert_allclose(
        ops.convert_to_numpy(model.layers[0].kernel), ops.convert_to_numpy(truth.kernel), atol=0.02
    )


def test_parameters():
    layer = layers.GroupedConv2D(96, 3, groups=32)
    layer.build((None, 8, 8, 64))
    assert layer.count_params() == 3 * 3 * (64 // 32) * 96 + 96
    layer = layers.GroupedConv2D(96, (5, 3), groups=16, use_bias=False)
    layer.build((None, 8, 8, 64))
    assert layer.count_params() == 5 * 3 * (64 // 16) * 96


def test_the_kernel_starts_as_he_et_al_say():
    layer = layers.GroupedConv2D(512, 3, groups=4)
    layer.build((None, 8, 8, 64))
    fan_in = 3 * 3 * 64 // 4
    assert abs(ops.convert_to_numpy(layer.kernel).std() / np.sqrt(2 / fan_in) - 1) < 0.02
    assert not ops.convert_to_numpy(layer.bias).any()


def test_channels_first(way):
    if keras.backend.backend() == "tensorflow":
        pytest.skip("TensorFlow's convolutions on the CPU are channels_last")
    x = RANDOM.normal(size=(2, 8, 8, 64)).astype("float32")
    last = layers.GroupedConv2D(96, 3, 2)
    first = layers.GroupedConv2D(96, 3, 2, data_format="channels_first")
    expected = ops.convert_to_numpy(last(x))
    first.build((2, 64, 8, 8))
    first.set_weights(last.get_weights())
    found = ops.convert_to_numpy(first(x.transpose(0, 3, 1, 2))).transpose(0, 2, 3, 1)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "groups, width, together",
    [(32, 4, 8), (32, 3, 8), (32, 6, 4), (32, 12, 2), (32, 16, 2), (32, 64, 1), (7, 4, 7), (9, 4, 3), (100, 1, 25)],
)
def test_a_chunk_is_a_divisor_of_the_groups(groups, width, together):
    assert _groups_in_chunk(groups, width) == together


@pytest.mark.parametrize(
    "options, message",
    [
        ({"groups": 0}, "groups=0"),
        ({"groups": -2}, "groups=-2"),
        ({"groups": 5}, "groups=5, filters=64"),
        ({"filters": -32}, "filters=-32"),
        ({"kernel_size": 0}, "0"),
        ({"strides": 2, "dilation_rate": 2}, r"strides=\(2, 2\) and dilation_rate=\(2, 2\)"),
        ({"padding": "full"}, "full"),
    ],
)
def test_wrong_values_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        layers.GroupedConv2D(**{"filters": 64, "kernel_size": 3, **options})


def test_wrong_inputs_are_refused():
    with pytest.raises(ValueError, match="groups=32.* 48 channels"):
        layers.GroupedConv2D(64, 3)(np.ones((2, 8, 8, 48)))
    layer = layers.GroupedConv2D(64, 3)
    for shape in ((8, 8, 64), (2, 8, 8, 64, 1)):
        with pytest.raises(ValueError, match=str(shape)[1:-1]):
            layer(np.ones(shape))
    layer(np.ones((2, 8, 8, 64)))
    for shape in ((8, 8, 64), (2, 8, 8, 64, 64), (2, 8, 8, 32)):
        with pytest.raises(ValueError, match=str(shape)[1:-1]):
            layer(np.ones(shape))
