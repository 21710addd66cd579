"""Each layer against an independent computation, and what every layer owes Keras."""

import keras
import numpy as np
import pytest
from keras import ops

from cifar_zoo import layers

RANDOM = np.random.default_rng(0)
FLOATS = RANDOM.normal(size=(4, 8, 8, 16)).astype("float32")
PIXELS = RANDOM.integers(0, 256, (64, 12, 10, 3), dtype="uint8")

EVERY_LAYER = {
    "BatchNormalization": lambda: layers.BatchNormalization(momentum=0.8, epsilon=1e-3),
    "Cutout": lambda: layers.Cutout(4, fill=(1, 2, 3), seed=1),
    "LocalResponseNormalization": lambda: layers.LocalResponseNormalization(4, 1.0, 0.001 / 9, 0.75),
    "PerImageStandardization": lambda: layers.PerImageStandardization(),
    "RandomCrop": lambda: layers.RandomCrop(8, 9, padding=2, seed=1),
    "RandomFlip": lambda: layers.RandomFlip(seed=1),
}


def apply(layer, x, **options):
    return ops.convert_to_numpy(layer(x, **options))


def test_every_layer_is_in_the_table():
    assert sorted(EVERY_LAYER) == sorted(layers.__all__)


@pytest.mark.parametrize("name", EVERY_LAYER)
def test_contract(name, tmp_path):
    """Config round trip, shape without values, save and reload, bfloat16."""
    layer = EVERY_LAYER[name]()
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert keras.saving.get_registered_name(type(layer)) == f"cifar_zoo>{name}"
    training = {} if name in ("LocalResponseNormalization", "PerImageStandardization") else {"training": True}
    out = apply(layer, PIXELS.astype("float32"), **training)
    assert out.shape[1:] == tuple(layer.compute_output_shape((None, 12, 10, 3)))[1:]

    model = keras.Sequential([keras.Input((12, 10, 3)), EVERY_LAYER[name]()])
    model.save(tmp_path / "layer.keras")
    loaded = keras.models.load_model(tmp_path / "layer.keras")
    x = PIXELS.astype("float32")
    np.testing.assert_array_equal(apply(loaded, x), apply(model, x))

    half = type(layer).from_config({**layer.get_config(), "dtype": "mixed_bfloat16"})
    full = apply(EVERY_LAYER[name](), x)
    np.testing.assert_allclose(
        ops.convert_to_numpy(ops.cast(half(x), "float32")), full, atol=0.02 * np.abs(full).max() + 0.02
    )


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
    x[0] = 7  # a picture of one colour
    out = apply(layers.PerImageStandardization(), x.astype("float32"))
    assert np.all(out[0] == 0)
    mean, std = x[1:].mean(axis=(1, 2, 3), keepdims=True), x[1:].std(axis=(1, 2, 3), keepdims=True)
    np.testing.assert_allclose(out[1:], (x[1:] - mean) / std, atol=1e-5)


def crops(picture, height, width, padding):
    """All windows of a picture padded by reflection, by their place."""
    padded = np.pad(picture, ((padding, padding), (padding, padding), (0, 0)), mode="reflect")
    rows, columns = padded.shape[0] - height + 1, padded.shape[1] - width + 1
    return {(r, c): padded[r : r + height, c : c + width] for r in range(rows) for c in range(columns)}


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_random_crop_cuts_a_window_of_each_picture(dtype):
    layer = layers.RandomCrop(9, 8, padding=3, seed=3)
    x = np.random.default_rng(1).integers(0, 256, (300, 12, 10, 3)).astype(dtype)
    out = apply(layer, x, training=True)
    assert out.dtype == dtype
    places = []
    for picture, window in zip(x, out, strict=True):
        found = [place for place, crop in crops(picture, 9, 8, 3).items() if np.array_equal(crop, window)]
        assert len(found) == 1
        places += found
    rows, columns = (np.bincount(values) for values in zip(*places, strict=True))
    assert len(rows) == 12 + 6 - 9 + 1 and rows.min() > 0  # every row is drawn, by single pictures
    assert len(columns) == 10 + 6 - 8 + 1 and columns.min() > 0


def test_random_crop_is_uniform():
    x = np.broadcast_to(np.arange(4, dtype="float32")[None, :, None, None], (8000, 4, 4, 1))
    top = apply(layers.RandomCrop(2, 4, seed=0), x, training=True)[:, 0, 0, 0]
    counts = np.bincount(top.astype(int), minlength=3)
    assert ((counts - 8000 / 3) ** 2 / (8000 / 3)).sum() < 13.8  # chi-square, 2 degrees of freedom, p = 0.001


def test_random_crop_takes_the_middle_in_inference():
    np.testing.assert_array_equal(apply(layers.RandomCrop(8, 6, padding=2), PIXELS), PIXELS[:, 2:10, 2:8])


def test_random_crop_refuses_pictures_that_are_too_small():
    with pytest.raises(ValueError, match="cannot cut 13x8 out of 12x10"):
        layers.RandomCrop(13, 8)(PIXELS)


def test_random_flip_mirrors_half_of_the_pictures():
    x = RANDOM.integers(0, 256, (2000, 4, 5, 3), dtype="uint8")
    out = apply(layers.RandomFlip(seed=0), x, training=True)
    same = np.array([np.array_equal(a, b) for a, b in zip(x, out, strict=True)])
    mirrored = np.array([np.array_equal(a[:, ::-1], b) for a, b in zip(x, out, strict=True)])
    assert np.all(same ^ mirrored)
    assert abs(mirrored.mean() - 0.5) < 3.3 * 0.5 / np.sqrt(2000)
    np.testing.assert_array_equal(apply(layers.RandomFlip(), x), x)


def test_cutout_blanks_a_square():
    x = np.ones((4000, 10, 12, 3), "uint8")
    layer = layers.Cutout(4, fill=(0, 100, 200), seed=0)
    out = apply(layer, x, training=True)
    blank = (out != 1).any(axis=-1)
    assert np.array_equal(np.unique(out[blank], axis=0), [[0, 100, 200]])
    rows, columns = blank.any(axis=2).sum(axis=1), blank.any(axis=1).sum(axis=1)
    np.testing.assert_array_equal(blank.sum(axis=(1, 2)), rows * columns)  # a full rectangle
    assert set(rows) == set(columns) == {2, 3, 4}  # smaller only at the edge
    # The centre is uniform: of 12 places in a row, a pixel of the middle is covered from 4 of them.
    assert abs(blank[:, 5, 6].mean() - (4 / 10) * (4 / 12)) < 3.3 * np.sqrt(0.133 * 0.867 / 4000)
    np.testing.assert_array_equal(apply(layer, x), x)


@pytest.mark.parametrize("name", ["RandomCrop", "RandomFlip", "Cutout"])
def test_draws_repeat_with_the_seed_and_advance(name):
    first, second = EVERY_LAYER[name](), EVERY_LAYER[name]()
    a, b = apply(first, PIXELS, training=True), apply(second, PIXELS, training=True)
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, apply(first, PIXELS, training=True))


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("mixed_bfloat16", 2e-2)])
def test_batch_normalization_is_that_of_keras(dtype, tolerance):
    """Outputs, gradients and moving statistics, by two steps of training."""
    x = 3 + 2 * RANDOM.normal(size=(16, 6, 6, 8)).astype("float32")
    target = RANDOM.normal(size=x.shape).astype("float32")
    results = []
    for kind in (layers.BatchNormalization, keras.layers.BatchNormalization):
        model = keras.Sequential(
            [
                keras.Input(x.shape[1:]),
                keras.layers.Dense(8, kernel_initializer="identity"),
                kind(momentum=0.9, epsilon=1e-3, dtype=dtype),
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
