"""Normalizing layers, each against an independent computation."""

import keras
import numpy as np
import pytest
from keras import ops

from cifar_zoo import layers

RANDOM = np.random.default_rng(0)
FLOATS = RANDOM.normal(size=(4, 8, 8, 16)).astype("float32")
PIXELS = RANDOM.integers(0, 256, (64, 12, 10, 3), dtype="uint8")


def apply(layer, x, **options):
    return ops.convert_to_numpy(layer(x, **options))


def test_local_response_normalization():
    expected = np.empty_like(FLOATS, dtype="float64")
    for channel in range(16):
        window = FLOATS[..., max(channel - 4, 0) : channel + 5].astype("float64")
        expected[..., channel] = FLOATS[..., channel] / (2.0 + 0.3 * (window**2).sum(-1)) ** 0.75
    layer = layers.LocalResponseNormalization(depth_radius=4, bias=2.0, alpha=0.3, beta=0.75)
    np.testing.assert_allclose(apply(layer, FLOATS), expected, rtol=1e-5, atol=1e-6)


def test_local_response_normalization_is_that_of_torch():
    torch = pytest.importorskip("torch")
    x = torch.tensor(FLOATS).permute(0, 3, 1, 2)
    expected = torch.nn.LocalResponseNorm(5, alpha=5 * 0.3, beta=0.75, k=2.0)(x).permute(0, 2, 3, 1).numpy()
    layer = layers.LocalResponseNormalization(depth_radius=2, bias=2.0, alpha=0.3, beta=0.75)
    np.testing.assert_allclose(apply(layer, FLOATS), expected, rtol=1e-5, atol=1e-6)


def test_per_image_standardization():
    x = PIXELS.astype("float64")
    x[0] = 7  # an image of one color
    out = apply(layers.PerImageStandardization(), x.astype("float32"))
    assert np.all(out[0] == 0)
    mean, std = x[1:].mean(axis=(1, 2, 3), keepdims=True), x[1:].std(axis=(1, 2, 3), keepdims=True)
    np.testing.assert_allclose(out[1:], (x[1:] - mean) / std, atol=1e-5)


@pytest.mark.parametrize("parts", [{}, {"scale": False}, {"center": False}, {"scale": False, "center": False}])
@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("mixed_bfloat16", 2e-2)])
@pytest.mark.parametrize("channels", [12, 16, 20])  # of whole blocks of oneDNN and of others
def test_batch_normalization_is_that_of_keras(channels, dtype, tolerance, parts):
    """Outputs, gradients and moving statistics, by two steps of training."""
    x = 3 + 2 * RANDOM.normal(size=(16, 6, 6, channels)).astype("float32")
    target = RANDOM.normal(size=x.shape).astype("float32")
    results = []
    for kind in (layers.BatchNormalization, keras.layers.BatchNormalization):
        model = keras.Sequential(
            [
                keras.Input(x.shape[1:]),
                keras.layers.Dense(channels, kernel_initializer="identity"),
                kind(momentum=0.9, epsilon=1e-3, dtype=dtype, **parts),
                keras.layers.Activation("linear", dtype="float32"),
            ]
        )
        model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=False)
        for _ in range(2):
            model.train_on_batch(x, target)
        results.append([*model.get_weights(), ops.convert_to_numpy(model(x))])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


def test_a_frozen_batch_normalization_keeps_its_statistics():
    layer = layers.BatchNormalization()
    layer.build(FLOATS.shape)
    layer.trainable = False
    out = apply(layer, FLOATS, training=True)
    np.testing.assert_allclose(out, FLOATS / np.sqrt(1 + 1e-5), rtol=1e-5)
    np.testing.assert_array_equal(ops.convert_to_numpy(layer.moving_mean), np.zeros(16))


def test_one_value_has_no_variance():
    """PyTorch's kernel refuses it."""
    layer = layers.BatchNormalization()
    out = apply(layer, FLOATS[:1, :1, :1], training=True)
    np.testing.assert_array_equal(out, np.zeros((1, 1, 1, 16)))
    np.testing.assert_allclose(ops.convert_to_numpy(layer.moving_variance), np.full(16, 0.9), rtol=1e-6)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: layers.BatchNormalization(momentum=1.5), r"momentum must be in \[0, 1\], not 1.5"),
        (lambda: layers.BatchNormalization(epsilon=0), "epsilon must be positive, not 0"),
        (lambda: layers.LocalResponseNormalization(depth_radius=-1), "depth_radius must be .* not -1"),
        (lambda: layers.LocalResponseNormalization(depth_radius=2.5), "not 2.5"),
        (lambda: layers.LocalResponseNormalization(bias=0), "bias must be positive, not 0"),
        (lambda: layers.LocalResponseNormalization(alpha=-0.1), "alpha must be at least 0, not -0.1"),
        (lambda: layers.LocalResponseNormalization(beta=float("nan")), "beta must be positive, not nan"),
    ],
)
def test_wrong_values_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
