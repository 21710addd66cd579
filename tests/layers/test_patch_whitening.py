"""Whitening makes patches uncorrelated; and the initializer used with it."""

import keras
import numpy as np
import pytest
from keras import ops

from cifar_zoo import layers

RANDOM = np.random.default_rng(0)


def smooth(count, rows=12, columns=10, channels=3):
    """Images whose neighboring pixels and channels go together, as in photographs."""
    noise = RANDOM.normal(size=(count, rows + 2, columns + 2, channels)).cumsum(axis=1).cumsum(axis=2)
    return (noise @ RANDOM.normal(size=(channels, channels))).astype("float32")[:, 2:, 2:] / 10


def adapted(images, **options):
    layer = layers.PatchWhitening(**options)
    layer.adapt(images)
    return layer


@pytest.mark.parametrize("size, channels", [(2, 3), (3, 1), (1, 4)])
def test_outputs_have_unit_variance_and_no_correlation(size, channels):
    images = smooth(1200, channels=channels)
    layer = adapted(images, size=size, epsilon=1e-6)
    outputs = ops.convert_to_numpy(layer(images)).astype("float64")
    first, second = np.split(outputs.reshape(-1, outputs.shape[-1]), 2, axis=1)
    assert first.shape[1] == size * size * channels
    np.testing.assert_allclose(first.T @ first / len(first), np.eye(first.shape[1]), atol=2e-2)
    np.testing.assert_allclose(second, -first, atol=1e-4)


def test_kernel_is_that_of_scikit_learn_up_to_sign():
    decomposition = pytest.importorskip("sklearn.decomposition")
    images = smooth(50)
    images = np.concatenate([images, -images])  # of mean zero, as scikit-learn makes them
    patches = np.lib.stride_tricks.sliding_window_view(images, (2, 2), axis=(1, 2))
    patches = patches.transpose(0, 1, 2, 4, 5, 3).reshape(-1, 12).astype("float64")
    expected = decomposition.PCA(whiten=True, svd_solver="full").fit(patches)
    directions = expected.components_ / np.sqrt(expected.explained_variance_ + 0.01)[:, None]
    kernel = ops.convert_to_numpy(adapted(images, epsilon=0.01).kernel).reshape(12, 24)[:, :12].T
    signs = np.sign((kernel * directions).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(kernel * signs, directions, rtol=1e-3, atol=1e-4)


def test_small_differences_survive_bfloat16():
    """They are among the largest outputs; rounded before the convolution, they would be noise."""
    images = smooth(200) + 3
    layer = adapted(images)
    exact = ops.convert_to_numpy(layer(images))
    rounding = layers.PatchWhitening(dtype="mixed_bfloat16")
    rounding.build(images.shape)
    rounding.kernel.assign(layer.kernel)
    outputs = rounding(images)
    assert keras.backend.standardize_dtype(outputs.dtype) == "bfloat16"
    error = ops.convert_to_numpy(ops.cast(outputs, "float32")) - exact
    assert np.abs(error).max() < 2**-8 * np.abs(exact).max()


def test_only_the_bias_is_trained():
    layer = layers.PatchWhitening()
    layer.build((None, 8, 8, 3))
    assert [weight.path for weight in layer.trainable_weights] == [layer.bias.path]
    assert not layer.adapted
    layer.adapt(smooth(20))
    assert layer.adapted


@pytest.mark.parametrize("shape", [(20, 8, 8, 4), (20, 8, 1, 3), (8, 8, 3)])
def test_unfit_images_are_refused(shape):
    layer = layers.PatchWhitening()
    layer.build((None, 8, 8, 3))
    before = ops.convert_to_numpy(layer.kernel)
    with pytest.raises(ValueError, match="inputs must be"):
        layer.adapt(np.zeros(shape))
    np.testing.assert_array_equal(ops.convert_to_numpy(layer.kernel), before)


@pytest.mark.parametrize("options, message", [({"size": 0}, "size .* not 0"), ({"epsilon": 0.0}, "epsilon .* not 0.0")])
def test_bad_values_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        layers.PatchWhitening(**options)


@pytest.mark.parametrize("size, channels, filters", [(3, 4, 9), (5, 6, 4), (2, 3, 3)])
def test_dirac_is_that_of_torch(size, channels, filters):
    torch = pytest.importorskip("torch")
    kernel = ops.convert_to_numpy(layers.Dirac(seed=1)((size, size, channels, filters)))
    passing = min(channels, filters)
    expected = torch.nn.init.dirac_(torch.empty(passing, channels, size, size)).permute(2, 3, 1, 0).numpy()
    np.testing.assert_array_equal(kernel[..., :passing], expected)


def test_dirac_draws_the_others_as_torch_does():
    torch = pytest.importorskip("torch")
    drawn = ops.convert_to_numpy(layers.Dirac(seed=1)((3, 3, 16, 512)))[..., 16:]
    theirs = torch.nn.Conv2d(16, 512, 3).weight.detach().numpy()
    assert np.abs(drawn).max() <= 1 / 12  # 144 inputs
    np.testing.assert_allclose(drawn.std(), theirs.std(), rtol=0.02)
    assert abs(drawn.mean()) < 1e-3


def test_dirac_repeats_itself_by_its_seed():
    shape = (3, 3, 2, 5)
    first, second = layers.Dirac(seed=3), layers.Dirac(seed=4)
    again = keras.initializers.deserialize(keras.initializers.serialize(first))
    np.testing.assert_array_equal(*(ops.convert_to_numpy(make(shape)) for make in (first, again)))
    assert not np.array_equal(*(ops.convert_to_numpy(make(shape)) for make in (first, second)))
    unseeded = (ops.convert_to_numpy(layers.Dirac()(shape)) for _ in range(2))
    assert not np.array_equal(*unseeded)


def test_dirac_is_for_convolutions():
    with pytest.raises(ValueError, match=r"not \(3, 4\)"):
        layers.Dirac()((3, 4))
