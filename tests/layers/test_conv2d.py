"""The convolution against that of PyTorch: outputs and gradients, on every code path."""

import keras
import numpy as np
import pytest
from gradients import BFLOAT16_TOLERANCE, WITHOUT_BFLOAT16, value_and_gradients
from keras import ops
from test_grouped_conv2d import conv2d_of_torch

from cifar_zoo import layers

RANDOM = np.random.default_rng(0)

# rows and columns, channels, filters, kernel, stride, dilation, padding, whether the kernel's gradient is by products
CASES = [
    ((4, 4), 64, 80, 3, 1, 1, "same", True),
    ((4, 4), 80, 64, 3, 1, 1, "valid", True),
    ((3, 5), 64, 64, (2, 4), 1, 1, "same", True),  # an even size: one more place to the right and the bottom
    ((1, 1), 8, 8, 5, 1, 1, "same", True),  # most of the kernel sees nothing
    ((9, 8), 12, 16, 1, 1, 1, "same", True),
    ((4, 4), 64, 64, 3, 2, 1, "same", False),
    ((8, 8), 64, 64, 3, 1, 1, "same", False),
    ((9, 8), 12, 16, 1, 2, 1, "same", False),
    ((9, 8), 12, 16, 3, 1, 2, "same", False),
    ((9, 8), 12, 16, (2, 3), 1, (3, 2), "valid", False),
    ((4, 4), 64, 64, 3, 1, 3, "same", False),  # most of the kernel sees nothing
]


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("mixed_bfloat16", BFLOAT16_TOLERANCE)])
@pytest.mark.parametrize("size, channels, filters, kernel, strides, dilation, padding, products", CASES)
def test_outputs_and_gradients_are_those_of_torch(
    dtype, tolerance, size, channels, filters, kernel, strides, dilation, padding, products
):
    layer = layers.Conv2D(
        filters, kernel, strides, padding, dilation_rate=dilation, bias_initializer="normal", dtype=dtype
    )
    x = RANDOM.normal(size=(3, *size, channels)).astype("float32")
    layer.build(x.shape)
    cotangent = RANDOM.normal(size=layer.compute_output_shape(x.shape)).astype("float32")
    found = value_and_gradients(layer, [x], cotangent)
    weights = [ops.convert_to_numpy(weight) for weight in (layer.kernel, layer.bias)]
    expected = conv2d_of_torch(x, *weights, cotangent, 1, layer.strides, layer.dilation_rate, padding)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * np.abs(theirs).max())


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("size, channels, filters, kernel, strides, dilation, padding, products", CASES)
def test_products_take_the_place_of_the_gradient_of_tensorflow(
    size, channels, filters, kernel, strides, dilation, padding, products, dtype, use_bias
):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("of TensorFlow's graph")
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        pytest.skip("of the CPU")
    layer = layers.Conv2D(
        filters, kernel, strides, padding, dilation_rate=dilation, activation="relu", use_bias=use_bias, dtype=dtype
    )

    @tf.function
    def gradients(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.cast(layer(x, training=True), "float32"))
        return tape.gradient(loss, [weight.value for weight in layer.trainable_weights])

    layer.build((None, *size, channels))
    graph = gradients.get_concrete_function(tf.TensorSpec((None, *size, channels))).graph
    kinds = {operation.type for operation in graph.get_operations()}
    rearranged = dilation != 1 and dtype == "mixed_bfloat16" and WITHOUT_BFLOAT16
    assert ("SpaceToBatchND" in kinds) == rearranged  # in place of a dilated convolution
    taken = products and dtype == "mixed_bfloat16"
    assert ("Conv2DBackpropFilter" not in kinds) == taken == ("MatMul" in kinds)
    assert not taken or "BiasAddGrad" not in kinds


def test_the_gradient_of_the_bias_is_summed_exactly_enough():
    """TensorFlow's own sum in bfloat16 loses a tenth of it here."""
    layer = layers.Conv2D(512, 1, bias_initializer="zeros", dtype="mixed_bfloat16")
    x = np.zeros((64, 8, 8, 512), "float32")
    layer.build(x.shape)
    cotangent = RANDOM.normal(0.02, 1, size=x.shape).astype("float32")
    *_, found = value_and_gradients(layer, [x], cotangent)
    expected = cotangent.astype("float64").sum((0, 1, 2))
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.01 * np.abs(expected).max())


WITHOUT_ONEDNN = """
import os, sys
import cifar_zoo, keras, numpy as np

assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == "0"  # what the user has set stays
sys.path.insert(0, "tests/layers")
from gradients import value_and_gradients
from cifar_zoo import layers

layer = layers.Conv2D(16, 3, padding="same", dilation_rate=2, bias_initializer="normal")
x, cotangent = (np.random.default_rng(0).normal(size=(3, 9, 8, channels)).astype("float32") for channels in (12, 16))
found = value_and_gradients(layer, [x], cotangent)
np.savez(sys.argv[1], x, *layer.get_weights(), cotangent, *found)
"""


def test_a_dilated_convolution_has_gradients_without_onednn(python, tmp_path):
    """Of its own, TensorFlow has none then."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("of TensorFlow")
    file = tmp_path / "arrays.npz"
    done = python("-c", WITHOUT_ONEDNN, file, env={"TF_ENABLE_ONEDNN_OPTS": "0"})
    assert done.returncode == 0, done.stderr
    with np.load(file) as arrays:
        x, kernel, bias, cotangent, *found = arrays.values()
    expected = conv2d_of_torch(x, kernel, bias, cotangent, 1, (1, 1), (2, 2), "same")
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * np.abs(theirs).max())
