"""Max-pooling against windows cut by NumPy, and the memory layout that PyTorch keeps."""

import keras
import numpy as np
import pytest
from gradients import value_and_gradients
from keras import ops

from cifar_zoo import layers

RANDOM = np.random.default_rng(0)


def pool(x, size, strides, padding):
    """The largest of each window; padding loses, and its odd row and column are at the bottom and the right."""
    _, rows, columns, _ = x.shape
    if padding == "same":
        missing = [max((-(-side // strides) - 1) * strides + size - side, 0) for side in (rows, columns)]
        width = [(0, 0), *((total // 2, total - total // 2) for total in missing), (0, 0)]
        x = np.pad(x, width, constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(1, 2))[:, ::strides, ::strides]
    return windows.max((-2, -1))


@pytest.mark.parametrize("size, strides, padding", [(2, 2, "valid"), (3, 2, "same"), (3, 2, "valid"), (2, 1, "same")])
def test_max_pooling(size, strides, padding):
    x = RANDOM.normal(size=(2, 7, 8, 5)).astype("float32")
    found = layers.MaxPooling2D(size, strides, padding)(x)
    np.testing.assert_array_equal(ops.convert_to_numpy(found), pool(x, size, strides, padding))


def test_the_gradient_goes_to_the_largest():
    x = RANDOM.permutation(2 * 4 * 6 * 3).reshape(2, 4, 6, 3).astype("float32")
    cotangent = RANDOM.normal(size=(2, 2, 3, 3)).astype("float32")
    value, gradient = value_and_gradients(layers.MaxPooling2D(), [x], cotangent)
    expected = np.zeros_like(x)
    for place in np.ndindex(value.shape):
        expected[x == value[place]] = cotangent[place]
    np.testing.assert_allclose(gradient, expected)


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.Conv2D(8, 3, padding="same", use_bias=False),
        lambda: layers.BatchNormalization(),
        lambda: layers.MaxPooling2D(3, 2, padding="same"),
    ],
)
def test_nothing_is_copied_into_another_order_on_pytorch(make):
    if keras.backend.backend() != "torch":
        pytest.skip("of PyTorch")
    import torch

    layer, x = make(), torch.tensor(RANDOM.normal(size=(4, 16, 16, 8)), dtype=torch.float32)
    layer(x)
    with torch.no_grad(), torch.profiler.profile(record_shapes=True) as profile:
        out = layer(x, training=True) if isinstance(layer, layers.BatchNormalization) else layer(x)
    large = [event.name for event in profile.events() if event.input_shapes and np.prod(event.input_shapes[0]) >= 8192]
    assert large and not {"aten::copy_", "aten::clone", "aten::contiguous"} & set(large), large
    assert out.is_contiguous()  # for the layer behind
