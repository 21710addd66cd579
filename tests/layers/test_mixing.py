"""Mixup and CutMix against their definitions and the distribution of their random draws."""

import keras
import numpy as np
import pytest
from keras import ops

from cifar_zoo import layers

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (8, 6, 5, 3), dtype="uint8")


def apply(layer, x, **options):
    return tuple(ops.convert_to_numpy(result) for result in layer(x, **options))


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_the_share_follows_the_beta_law(alpha):
    stats = pytest.importorskip("scipy.stats")
    _, share = apply(layers.Mixup(alpha, per="image", seed=0), np.zeros((20_000, 1, 1, 1)), training=True)
    place = np.linspace(0.001, 0.999, 999)  # not the very ends, where float32 rounds to 1
    found = np.searchsorted(np.sort(share), place) / len(share)
    # Kolmogorov and Smirnov's largest distance, p = 0.001
    assert np.abs(found - stats.beta(alpha, alpha).cdf(place)).max() < 1.95 / np.sqrt(len(share))


def test_a_small_alpha_gives_whole_images():
    x = np.ones((20_000, 1, 1, 1), "float32")
    mixed, share = apply(layers.Mixup(0.01, per="image", seed=0), x, training=True)
    assert np.isfinite(share).all() and share.min() >= 0 and share.max() <= 1
    np.testing.assert_allclose(mixed, 1, rtol=1e-6)
    assert ((share < 0.001) | (share > 0.999)).mean() > 0.85
    assert abs(share.mean() - 0.5) < 3.3 * 0.5 / np.sqrt(len(share))


@pytest.mark.parametrize("kind", [layers.Mixup, layers.CutMix])
def test_one_draw_a_batch_or_an_image(kind):
    layer = kind(1.0, seed=1)
    shares = [apply(layer, np.zeros((8, 32, 32, 1)), training=True)[1] for _ in range(4)]
    assert all(len(set(share)) == 1 for share in shares) and len({share[0] for share in shares}) > 1
    shares = apply(kind(1.0, per="image", seed=1), np.zeros((8, 32, 32, 1)), training=True)[1]
    assert len(set(shares)) > 4


@pytest.mark.parametrize("per", ["batch", "image"])
def test_mixup_is_a_weighted_sum_with_the_image_before(per):
    mixed, share = apply(layers.Mixup(1.0, per=per, seed=2), IMAGES, training=True)
    assert mixed.dtype == share.dtype == "float32"
    weight = share[:, None, None, None].astype("float64")
    expected = weight * IMAGES + (1 - weight) * IMAGES[[7, 0, 1, 2, 3, 4, 5, 6]]
    np.testing.assert_allclose(mixed, expected, rtol=1e-5, atol=1e-4)


def test_cutmix_pastes_a_box_of_the_image_before():
    """All pixels of image i have the value i, so that it shows where each one is from."""
    count, height, width = 4000, 10, 16
    x = np.broadcast_to(np.arange(count, dtype="float32")[:, None, None, None], (count, height, width, 1))
    mixed, share = apply(layers.CutMix(seed=0, per="image"), x, training=True)
    pasted = (mixed != x)[..., 0]
    np.testing.assert_array_equal(mixed[pasted][:, 0], np.roll(x, 1, axis=0)[pasted][:, 0])
    rows, columns = pasted.any(axis=2), pasted.any(axis=1)
    np.testing.assert_array_equal(pasted, rows[:, :, None] & columns[:, None, :])  # a full rectangle...
    assert all(
        (np.diff(np.flatnonzero(line)) == 1).all() for span in (rows, columns) for line in span
    )  # ...in one piece
    np.testing.assert_allclose(share, 1 - pasted.mean(axis=(1, 2)), atol=1e-6)
    assert share.min() < 0.2 and share.max() == 1  # from nearly all to nothing


def test_the_center_of_the_box_is_uniform():
    """A box of an odd number of rows that lies inside tells its center."""
    stats = pytest.importorskip("scipy.stats")
    count, length = 40_000, 12
    x = np.broadcast_to(np.arange(count, dtype="float32")[:, None, None, None], (count, length, length, 1))
    mixed, _ = apply(layers.CutMix(seed=3, per="image"), x, training=True)
    pasted = (mixed != x)[..., 0]
    for rows in (pasted.any(axis=2), pasted.any(axis=1)):
        three = rows[(rows.sum(axis=1) == 3) & ~rows[:, 0] & ~rows[:, -1]]  # clipped ones would touch the edge
        centers = np.bincount(three.argmax(axis=1) + 1, minlength=length)
        assert centers[:2].sum() == centers[-2:].sum() == 0
        assert stats.chisquare(centers[2:-2]).pvalue > 0.001


def test_the_box_has_the_area_of_the_beta_law():
    """Where it is not clipped: the side of the box is the square root of 1 - lambda, which is uniform."""
    count, length = 4000, 64
    x = np.broadcast_to(np.arange(count, dtype="float32")[:, None, None, None], (count, length, length, 1))
    mixed, _ = apply(layers.CutMix(seed=4, per="image"), x, training=True)
    pasted = (mixed != x)[..., 0]
    rows, columns = pasted.sum(axis=1).max(axis=1), pasted.sum(axis=2).max(axis=1)
    largest = np.maximum(rows, columns)  # the clipped side is never longer
    # P(side < s) = s ** 2 for a uniform lambda; up to a quarter of the image few boxes are clipped on both sides.
    assert abs((largest < 16).mean() - (16 / length) ** 2) < 0.02


@pytest.mark.parametrize("kind", [layers.Mixup, layers.CutMix])
def test_inference_passes_the_images_on(kind):
    images, share = apply(kind(seed=0), IMAGES)
    np.testing.assert_array_equal(images, IMAGES.astype("float32"))
    np.testing.assert_array_equal(share, np.ones(8, "float32"))
    assert images.dtype == share.dtype == "float32"


def test_mixed_targets():
    targets = np.eye(10, dtype="float32")[RANDOM.integers(0, 10, 8)] * 0.9 + 0.01
    share = RANDOM.uniform(size=8).astype("float32")
    mixed = ops.convert_to_numpy(layers.mix_targets(targets, share))
    np.testing.assert_allclose(mixed.sum(axis=1), 1, rtol=1e-6)
    for i in range(8):
        np.testing.assert_allclose(mixed[i], share[i] * targets[i] + (1 - share[i]) * targets[i - 1], rtol=1e-6)


def test_a_blend_is_undone_by_its_targets():
    """Images that are their own targets are mixed as these."""
    images = np.eye(8, dtype="float32").reshape(8, 1, 1, 8)
    mixed, share = apply(layers.Mixup(1.0, per="image", seed=5), images, training=True)
    targets = ops.convert_to_numpy(layers.mix_targets(images[:, 0, 0], share))
    np.testing.assert_allclose(mixed[:, 0, 0], targets, rtol=1e-6)


@pytest.mark.parametrize("kind", [layers.Mixup, layers.CutMix])
@pytest.mark.parametrize("alpha", [0, -1.5])
def test_bad_values_are_refused(kind, alpha):
    with pytest.raises(ValueError, match=f"alpha must be positive, not {alpha}"):
        kind(alpha)
    with pytest.raises(ValueError, match="per must be .*, not 'pixel'"):
        kind(per="pixel")


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="is about TensorFlow")
@pytest.mark.parametrize("kind", [layers.Mixup, layers.CutMix])
def test_xla_compiles_it(kind):
    import tensorflow as tf

    layer = kind(0.2, seed=1)
    mixed, share = tf.function(lambda x: layer(x, training=True), jit_compile=True)(IMAGES)
    assert np.isfinite(mixed).all() and 0 <= float(share[0]) <= 1
