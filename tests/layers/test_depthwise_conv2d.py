"""The depthwise convolution against that of PyTorch: outputs and gradients, on every code path."""

import keras
import numpy as np
import pytest
from gradients import value_and_gradients
from keras import ops
from test_grouped_conv2d import conv2d_of_torch

from cifar_zoo import layers

RANDOM = np.random.default_rng(0)

# rows and columns, channels, multiplier, kernel, strides, dilation, padding
CASES = [
    ((8, 8), 16, 1, 3, 1, 1, "same"),
    ((8, 9), 16, 1, 3, 2, 1, "same"),
    ((9, 8), 16, 1, 5, 1, 1, "same"),
    ((9, 8), 16, 1, 5, 2, 1, "same"),
    ((8, 8), 16, 1, 7, 1, 1, "same"),
    ((9, 12), 8, 2, 5, 2, 1, "valid"),
    ((9, 8), 8, 3, (2, 4), 1, 1, "same"),  # even sizes: one more place to the right and the bottom
    ((9, 8), 8, 1, (1, 5), 3, 1, "same"),
    ((2, 2), 8, 1, 5, 1, 1, "same"),  # most of the kernel sees nothing
    ((9, 8), 8, 1, 4, 3, 1, "valid"),
    ((9, 8), 8, 2, 3, 1, 2, "same"),
]


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("mixed_bfloat16", 0.02)])
@pytest.mark.parametrize("size, channels, multiplier, kernel, strides, dilation, padding", CASES)
def test_outputs_and_gradients_are_those_of_torch(
    dtype, tolerance, size, channels, multiplier, kernel, strides, dilation, padding
):
    layer = layers.DepthwiseConv2D(
        kernel, strides, padding, multiplier, dilation_rate=dilation, bias_initializer="normal", dtype=dtype
    )
    x = RANDOM.normal(size=(3, *size, channels)).astype("float32")
    layer.build(x.shape)
    cotangent = RANDOM.normal(size=layer.compute_output_shape(x.shape)).astype("float32")
    outputs, of_inputs, of_kernel, of_bias = value_and_gradients(layer, [x], cotangent)
    kernel, bias = (ops.convert_to_numpy(weight) for weight in (layer.kernel, layer.bias))
    grouped = kernel.reshape(*kernel.shape[:2], 1, -1)
    expected = conv2d_of_torch(x, grouped, bias, cotangent, channels, layer.strides, dilation, padding)
    found = [outputs, of_inputs, of_kernel.reshape(grouped.shape), of_bias]
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * np.abs(theirs).max())


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_weights_and_outputs_are_those_of_keras(dtype, use_bias):
    x = RANDOM.normal(size=(2, 9, 8, 6)).astype("float32")
    results = []
    for kind in (layers.DepthwiseConv2D, keras.layers.DepthwiseConv2D):
        layer = kind(5, 2, "same", depth_multiplier=2, use_bias=use_bias, activation="relu", dtype=dtype)
        layer.build(x.shape)
        random = np.random.default_rng(1)
        layer.set_weights([random.normal(size=weight.shape) for weight in layer.weights])
        results.append(ops.convert_to_numpy(ops.cast(layer(x), "float32")))
    tolerance = 1e-5 if dtype == "float32" else 0.02
    np.testing.assert_allclose(*results, rtol=tolerance, atol=tolerance * np.abs(results[1]).max())


def test_the_slow_gradients_of_tensorflow_are_avoided():
    """No bfloat16 gradient of the inputs at a stride, and none of a kernel that is not 3x3, in the graph."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("of TensorFlow's graph")
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        pytest.skip("of the CPU")
    for kernel, strides in ((3, 1), (3, 2), (5, 1), (5, 2), (7, 1)):
        layer = layers.DepthwiseConv2D(kernel, strides, "same", dtype="mixed_bfloat16")
        layer.build((None, 8, 8, 16))

        @tf.function
        def gradients(x, layer=layer):
            with tf.GradientTape() as tape:
                tape.watch(x)
                loss = tf.reduce_sum(tf.cast(layer(x), "float32"))
            return tape.gradient(loss, [x, layer.kernel.value])

        graph = gradients.get_concrete_function(tf.TensorSpec((None, 8, 8, 16))).graph
        of_kernel = [op for op in graph.get_operations() if op.type == "DepthwiseConv2dNativeBackpropFilter"]
        of_inputs = [op for op in graph.get_operations() if op.type == "DepthwiseConv2dNativeBackpropInput"]
        assert len(of_kernel) == (-(-kernel // 3)) ** 2
        assert all(op.outputs[0].shape[:2] == (3, 3) for op in of_kernel)
        assert [op.outputs[0].dtype for op in of_inputs] == ["bfloat16" if strides == 1 else "float32"]


def test_channels_first():
    if keras.backend.backend() == "tensorflow":
        pytest.skip("TensorFlow's convolutions on the CPU are channels_last")
    x = RANDOM.normal(size=(2, 8, 8, 6)).astype("float32")
    last = layers.DepthwiseConv2D(5, 2, "same", bias_initializer="normal")
    first = layers.DepthwiseConv2D(5, 2, "same", data_format="channels_first")
    expected = ops.convert_to_numpy(last(x))
    first.build((2, 6, 8, 8))
    first.set_weights(last.get_weights())
    found = ops.convert_to_numpy(first(x.transpose(0, 3, 1, 2))).transpose(0, 2, 3, 1)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_it_trains_with_an_unknown_batch_size():
    """In a compiled step: the convolution that made the targets is found again."""
    x = RANDOM.normal(size=(256, 6, 6, 8)).astype("float32")
    truth = layers.DepthwiseConv2D(5, 2, "same")
    y = ops.convert_to_numpy(truth(x))
    own = layers.DepthwiseConv2D(5, 2, "same", dtype="mixed_bfloat16")
    model = keras.Sequential([keras.Input((6, 6, 8)), own])
    model.compile(keras.optimizers.Adam(0.03), "mse")
    model.fit(x, y, batch_size=60, epochs=30, verbose=0)  # the last batch is smaller
    np.testing.assert_allclose(ops.convert_to_numpy(own.kernel), ops.convert_to_numpy(truth.kernel), atol=0.03)


@pytest.mark.parametrize("options", [{"kernel_size": 0}, {"strides": 0}, {"depth_multiplier": 0}, {"padding": "full"}])
def test_wrong_values_are_refused(options):
    with pytest.raises(ValueError, match=str(*options.values())):
        layers.DepthwiseConv2D(**{"kernel_size": 3, **options})
