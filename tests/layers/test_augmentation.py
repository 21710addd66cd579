"""Layers that change images, each against an independent computation.

A statistical test fails by chance with probability 0.001 for a random seed; the seeds are fixed.
"""

import keras
import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
from keras import ops
from PIL import Image, ImageEnhance, ImageOps

from cifar_zoo import layers
from cifar_zoo.layers import trivial_augment
from cifar_zoo.layers.affine import about_center, warp

RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.integers(0, 256, (64, 12, 10, 3), dtype="uint8")

AUGMENTATIONS = {
    "AlternatingFlip": lambda: layers.AlternatingFlip(2, seed=1),
    "Cutout": lambda: layers.Cutout(4, seed=1),
    "RandomAffine": lambda: layers.RandomAffine(15, 0.1, 5, 0.1, seed=1),
    "RandomBrightness": lambda: layers.RandomBrightness(63, seed=1),
    "RandomContrast": lambda: layers.RandomContrast(0.2, 1.8, seed=1),
    "RandomCrop": lambda: layers.RandomCrop(12, 10, padding=2, seed=1),
    "RandomFlip": lambda: layers.RandomFlip(seed=1),
    "TrivialAugmentWide": lambda: layers.TrivialAugmentWide(seed=1),
}


def apply(layer, x, **options):
    return ops.convert_to_numpy(layer(x, **options))


def is_uniform(values, low, high):
    return scipy.stats.kstest(values, scipy.stats.uniform(low, high - low).cdf).pvalue > 0.001


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_pixels_as_integers(name):
    layer = AUGMENTATIONS[name]()
    floats = name in ("RandomBrightness", "RandomContrast")
    for training in (False, True):
        out = apply(layer, PIXELS, training=training)
        assert out.dtype == ("float32" if floats else "uint8") and out.shape == PIXELS.shape
        assert np.array_equal(out, PIXELS) != training
    if not floats:  # the same as on floats
        twin = AUGMENTATIONS[name]()
        twin(PIXELS, training=True)
        out, expected = apply(layer, PIXELS, training=True), apply(twin, PIXELS.astype("float32"), training=True)
        np.testing.assert_array_equal(out, np.round(expected))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: layers.AlternatingFlip(0), "steps_per_epoch must be a positive integer, not 0"),
        (lambda: layers.AlternatingFlip(2.5), "steps_per_epoch must be a positive integer, not 2.5"),
        (lambda: layers.Cutout(0), "size must be a positive integer, not 0"),
        (lambda: layers.RandomAffine(rotation=-1), "rotation must be 0 or more, not -1"),
        (lambda: layers.RandomAffine(shift=-0.1), "shift must be 0 or more, not -0.1"),
        (lambda: layers.RandomAffine(shear=float("nan")), "shear must be 0 or more, not nan"),
        (lambda: layers.RandomAffine(zoom=1), r"zoom must be in \[0, 1\), not 1"),
        (lambda: layers.RandomAffine(fill_mode="wrap"), "fill_mode must be one of .*, not 'wrap'"),
        (lambda: layers.RandomAffine(interpolation="cubic"), "interpolation must be one of .*, not 'cubic'"),
        (lambda: layers.RandomBrightness(-3), "max_delta must be 0 or more, not -3"),
        (lambda: layers.RandomBrightness(3, (255, 0)), r"value_range must be .*, not \(255, 0\)"),
        (lambda: layers.RandomContrast(-0.5, 1), "0 <= lower <= upper, not -0.5 and 1"),
        (lambda: layers.RandomContrast(2, 1), "0 <= lower <= upper, not 2 and 1"),
        (lambda: layers.RandomContrast(1, 2, (0,)), r"value_range must be .*, not \(0,\)"),
        (lambda: layers.RandomCrop(0, 8), "height must be a positive integer, not 0"),
        (lambda: layers.RandomCrop(8, 7.5), "width must be a positive integer, not 7.5"),
        (lambda: layers.RandomCrop(8, 8, padding=-1), "padding must be an integer from 0, not -1"),
        (lambda: layers.RandomCrop(8, 8, padding_mode="edge"), "padding_mode must be one of .*, not 'edge'"),
        (lambda: layers.RandomCrop(13, 8)(PIXELS), "cannot cut 13x8 out of 12x10"),
        (lambda: layers.RandomCrop(8, 8, padding=10)(PIXELS), "cannot cut 8x8 out of 12x10 images with padding=10"),
        (lambda: layers.TrivialAugmentWide()(PIXELS[..., :2]), "not 12x10 with 2"),
        (lambda: layers.TrivialAugmentWide()(PIXELS[:, :2]), "not 2x10 with 3"),
    ],
)
def test_wrong_values(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def crops(image, height, width, padding, **mode):
    """All windows of a padded image, by their place."""
    padded = np.pad(image, ((padding, padding), (padding, padding), (0, 0)), **mode)
    rows, columns = padded.shape[0] - height + 1, padded.shape[1] - width + 1
    return {(r, c): padded[r : r + height, c : c + width] for r in range(rows) for c in range(columns)}


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("padding_mode, fill", [("reflect", 0), ("constant", 0), ("constant", (3, 2, 1))])
def test_random_crop_cuts_a_window_of_each_image(padding_mode, fill, dtype):
    layer = layers.RandomCrop(9, 8, padding=3, padding_mode=padding_mode, fill=fill, seed=3)
    x = np.random.default_rng(1).integers(0, 256, (300, 12, 10, 3)).astype(dtype)
    out = apply(layer, x, training=True)
    assert out.dtype == dtype
    places = []
    for image, window in zip(x, out, strict=True):
        if padding_mode == "reflect":
            windows = crops(image, 9, 8, 3, mode="reflect")
        else:
            windows = crops(image - np.array(fill, dtype), 9, 8, 3)
            windows = {place: crop + np.array(fill, dtype) for place, crop in windows.items()}
        found = [place for place, crop in windows.items() if np.array_equal(crop, window)]
        assert len(found) == 1
        places += found
    rows, columns = (np.bincount(values) for values in zip(*places, strict=True))
    assert len(rows) == 12 + 6 - 9 + 1 and rows.min() > 0  # every row is drawn, by single images
    assert len(columns) == 10 + 6 - 8 + 1 and columns.min() > 0


def test_random_crop_pads_with_a_constant_as_far_as_one_likes():
    x = np.full((400, 3, 3, 1), 7, "uint8")
    out = apply(layers.RandomCrop(3, 3, padding=5, padding_mode="constant", fill=1, seed=0), x, training=True)
    assert set(out.reshape(400, 9).sum(axis=1)) == {9 + 6 * seen for seen in (0, 1, 2, 3, 4, 6, 9)}


def test_random_crop_is_uniform():
    x = np.broadcast_to(np.arange(4, dtype="float32")[None, :, None, None], (8000, 4, 4, 1))
    top = apply(layers.RandomCrop(2, 4, seed=0), x, training=True)[:, 0, 0, 0]
    assert scipy.stats.chisquare(np.bincount(top.astype(int), minlength=3)).pvalue > 0.001


def test_random_crop_takes_the_middle_in_inference():
    np.testing.assert_array_equal(apply(layers.RandomCrop(8, 6, padding=2), PIXELS), PIXELS[:, 2:10, 2:8])


def test_random_flip_mirrors_half_of_the_images():
    x = RANDOM.integers(0, 256, (2000, 4, 5, 3), dtype="uint8")
    out = apply(layers.RandomFlip(seed=0), x, training=True)
    same = np.array([np.array_equal(a, b) for a, b in zip(x, out, strict=True)])
    mirrored = np.array([np.array_equal(a[:, ::-1], b) for a, b in zip(x, out, strict=True)])
    assert np.all(same ^ mirrored)
    assert abs(mirrored.mean() - 0.5) < 3.3 * 0.5 / np.sqrt(2000)


def test_alternating_flip_alternates():
    """Over four epochs of ten steps, each with its own order of the images."""
    x = scipy.ndimage.gaussian_filter(RANDOM.normal(128, 400, (2000, 16, 16, 3)), (0, 2, 2, 1))
    x = np.clip(x, 0, 255).astype("uint8")
    layer = layers.AlternatingFlip(steps_per_epoch=10, seed=0)
    mirrored = np.empty((4, 2000), bool)
    for epoch in range(4):
        for chosen in RANDOM.permutation(2000).reshape(10, 200):
            apply(layer, x[chosen])  # an evaluation in between does not count
            out = apply(layer, x[chosen], training=True)
            mirrored[epoch, chosen] = (out == x[chosen][:, :, ::-1]).all(axis=(1, 2, 3))
            assert ((out == x[chosen]).all(axis=(1, 2, 3)) ^ mirrored[epoch, chosen]).all()
    assert abs(mirrored[0].mean() - 0.5) < 3.3 * 0.5 / np.sqrt(2000)
    np.testing.assert_array_equal(mirrored[1:], ~mirrored[:-1])
    other = (apply(layers.AlternatingFlip(1, seed=99), x, training=True) != x).any(axis=(1, 2, 3))
    assert abs((other == mirrored[0]).mean() - 0.5) < 3.3 * 0.5 / np.sqrt(2000)  # the seed chooses


def test_cutout_blanks_a_square():
    x = np.ones((4000, 10, 12, 3), "uint8")
    layer = layers.Cutout(4, fill=(0, 100, 200), seed=0)
    out = apply(layer, x, training=True)
    blank = (out != 1).any(axis=-1)
    assert np.array_equal(np.unique(out[blank], axis=0), [[0, 100, 200]])
    rows, columns = blank.any(axis=2).sum(axis=1), blank.any(axis=1).sum(axis=1)
    np.testing.assert_array_equal(blank.sum(axis=(1, 2)), rows * columns)  # a full rectangle
    assert set(rows) == set(columns) == {2, 3, 4}  # smaller only at the edge
    # The center is uniform: of 12 places in a row, a pixel of the middle is covered from 4 of them.
    assert abs(blank[:, 5, 6].mean() - (4 / 10) * (4 / 12)) < 3.3 * np.sqrt(0.133 * 0.867 / 4000)


def random_matrices(count, strength):
    """Maps about anywhere, up to far outside of the image."""
    matrices = np.zeros((count, 2, 3))
    matrices[:, [0, 1], [0, 1]] = 1
    matrices[:, :, :2] += RANDOM.normal(0, strength, (count, 2, 2))
    matrices[:, :, 2] = RANDOM.normal(0, 6 * strength, (count, 2))
    return matrices.astype("float32")


def far_from_ties(matrices, height, width):
    """Where no rounding error can decide which of two pixels is the nearest: booleans (batch, height, width)."""
    places = np.stack([*np.indices((height, width)), np.ones((height, width))])
    source = np.tensordot(matrices.astype("float64"), places, axes=(2, 0))
    return (np.abs((source + 0.5) % 1 - 0.5) < 0.5 - 1e-3).all(axis=1)


@pytest.mark.parametrize("strength", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("fill_mode, scipy_mode", [("nearest", "nearest"), ("constant", "grid-constant")])
@pytest.mark.parametrize("interpolation, order", [("nearest", 0), ("bilinear", 1)])
def test_warp_is_that_of_scipy(interpolation, order, fill_mode, scipy_mode, strength):
    x, matrices, fill = PIXELS.astype("float32"), random_matrices(64, strength), (10, 20, 30)
    out = ops.convert_to_numpy(warp(x, matrices, interpolation, fill_mode, fill))
    expected = np.stack(
        [
            np.stack(
                [
                    scipy.ndimage.affine_transform(
                        image[..., c], matrix[:, :2], matrix[:, 2], order=order, mode=scipy_mode, cval=fill[c]
                    )
                    for c in range(3)
                ],
                axis=-1,
            )
            for image, matrix in zip(x, matrices.astype("float64"), strict=True)
        ]
    )
    sure = far_from_ties(matrices, 12, 10) | (order == 1)
    assert sure.mean() > 0.98
    np.testing.assert_allclose(out[sure], expected[sure], atol=0.02)
    whole = ops.convert_to_numpy(warp(PIXELS, matrices, interpolation, fill_mode, fill))
    assert whole.dtype == "uint8"
    np.testing.assert_array_equal(whole, np.round(out))


@pytest.mark.parametrize("interpolation, resample", [("nearest", Image.NEAREST), ("bilinear", Image.BILINEAR)])
def test_warp_is_that_of_pillow(interpolation, resample):
    matrices = random_matrices(64, 0.1)
    out = ops.convert_to_numpy(warp(PIXELS, matrices, interpolation, "constant"))
    sure = far_from_ties(matrices, 12, 10)
    if interpolation == "bilinear":  # Pillow mixes nothing in at the border: only what comes from the inside
        zero = ops.convert_to_numpy(warp(np.ones_like(PIXELS[..., :1], "float32"), matrices, fill_mode="constant"))
        sure = zero[..., 0] == 1
    for matrix, image, found, here in zip(matrices.astype("float64"), PIXELS, out, sure, strict=True):
        (a, b, c), (d, e, f) = matrix  # to Pillow's x, y, with pixels' centers at one half
        data = (e, d, f - (e + d - 1) / 2, b, a, c - (a + b - 1) / 2)
        expected = np.asarray(Image.fromarray(image).transform((10, 12), Image.AFFINE, data, resample))
        difference = np.abs(found[here].astype(int) - expected[here])
        assert difference.max(initial=0) <= (interpolation == "bilinear")  # Pillow rounds after each axis


def test_about_center():
    one, zero = np.ones(2, "float32"), np.zeros(2, "float32")
    half_turn = ops.convert_to_numpy(about_center(12, 10, ((-one, zero), (zero, -one)), (zero, one)))
    np.testing.assert_array_equal(half_turn, [[[-1, 0, 11], [0, -1, 10]]] * 2)


def test_random_affine_is_the_map_of_image_data_generator(monkeypatch):
    """The product of the four matrices, rotation first, for given draws; shear by its sine and cosine."""
    draws = RANDOM.uniform(-1, 1, (6, 64)).astype("float32")
    monkeypatch.setattr(keras.random, "uniform", lambda *args, **options: ops.convert_to_tensor(draws))
    out = apply(layers.RandomAffine(40, 0.2, 30, 0.5), PIXELS.astype("float32"), training=True)
    center = np.array([5.5, 4.5])
    for image, found, (angle, slant, *rest) in zip(PIXELS, out, draws.T.astype("float64"), strict=True):
        angle, slant, move, zoom = np.radians(40 * angle), np.radians(30 * slant), rest[:2], rest[2:]
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        shear = np.array([[1, -np.sin(slant)], [0, np.cos(slant)]])
        linear = rotation @ shear @ np.diag(1 + 0.5 * np.array(zoom))
        offset = center + rotation @ (0.2 * np.array([12, 10]) * move) - linear @ center
        for c in range(3):
            expected = scipy.ndimage.affine_transform(
                image[..., c].astype(float), linear, offset, order=1, mode="nearest"
            )
            np.testing.assert_allclose(found[..., c], expected, atol=0.02)


def test_random_affine_draws_uniformly_for_each_image():
    """The six numbers of each image, from what becomes of an image whose pixels hold their own place."""
    count, height, width = 3000, 24, 32
    ramp = np.stack(np.indices((height, width)), axis=-1).astype("float32")
    layer = layers.RandomAffine(rotation=15, shift=0.1, shear=5, zoom=0.125, seed=0)
    out = apply(layer, np.broadcast_to(ramp, (count, height, width, 2)), training=True)
    middle = (slice(8, 16), slice(12, 20))  # comes from inside of the image in any case
    places = np.concatenate([ramp[middle] - [11.5, 15.5], np.ones((8, 8, 1))], axis=-1).reshape(64, 3)
    found = (out[:, *middle] - [11.5, 15.5]).reshape(count, 64, 2)
    fit = np.einsum("ij,njk->nik", np.linalg.pinv(places), found)
    np.testing.assert_allclose(places @ fit, found, atol=1e-3)  # it is an affine map
    (down, right, offset) = fit.transpose(1, 2, 0)
    angle = np.arctan2(down[1], down[0])
    drawn = np.stack(
        [
            np.degrees(angle) / 15,
            np.degrees(np.arctan2(-right[0], right[1]) - angle) / 5,
            (np.cos(angle) * offset[0] + np.sin(angle) * offset[1]) / 2.4,
            (np.cos(angle) * offset[1] - np.sin(angle) * offset[0]) / 3.2,
            (np.hypot(*down) - 1) / 0.125,
            (np.hypot(*right) - 1) / 0.125,
        ]
    )
    for values in drawn:
        assert is_uniform(values, -1, 1)
        assert len(np.unique(values.round(5))) > 0.98 * count  # one for each image
    correlations = np.corrcoef(drawn)[np.triu_indices(6, 1)]
    assert np.abs(correlations).max() < 4 / np.sqrt(count)  # 15 of them, by chance beyond with probability 0.001


def test_random_brightness():
    x = np.concatenate([PIXELS] * 16)
    out = apply(layers.RandomBrightness(63, seed=0), x, training=True)
    delta = (out - x).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(out, x + delta[:, None, None, None], atol=1e-3)
    assert is_uniform(delta, -63, 63)
    clipped = apply(layers.RandomBrightness(63, value_range=(0, 255), seed=0), x, training=True)
    np.testing.assert_array_equal(clipped, np.clip(out, 0, 255))


def test_random_contrast():
    x = np.concatenate([PIXELS] * 16)
    out = apply(layers.RandomContrast(0.2, 1.8, seed=0), x, training=True)
    mean = x.mean(axis=(1, 2), keepdims=True)
    factor = ((out - mean) * (x - mean)).sum(axis=(1, 2, 3)) / ((x - mean) ** 2).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(out, mean + factor[:, None, None, None] * (x - mean), atol=1e-3)
    assert is_uniform(factor, 0.2, 1.8)
    clipped = apply(layers.RandomContrast(0.2, 1.8, value_range=(0, 255), seed=0), x, training=True)
    np.testing.assert_array_equal(clipped, np.clip(out, 0, 255))


def test_brightness_and_contrast_are_those_of_tensorflow():
    tf = pytest.importorskip("tensorflow")
    x = PIXELS[:1].astype("float32")
    out = apply(layers.RandomBrightness(63, seed=3), x, training=True)
    expected = tf.image.adjust_brightness(x, float((out - x).mean()))
    np.testing.assert_allclose(out, expected, atol=1e-3)
    out = apply(layers.RandomContrast(0.7, 0.7), x, training=True)
    np.testing.assert_allclose(out, tf.image.adjust_contrast(x, 0.7), atol=1e-3)


def pillow(operation, pixels, level, sign):
    """One operation of TrivialAugment by Pillow itself."""
    image = Image.fromarray(pixels.squeeze())
    strength = level / 30
    factor, shear, shift = 1 + sign * 0.99 * strength, sign * 0.99 * strength, sign * int(level * 32 / 30)
    result = {
        "identity": lambda: image,
        "shear_x": lambda: image.transform(image.size, Image.AFFINE, (1, shear, 0, 0, 1, 0)),
        "shear_y": lambda: image.transform(image.size, Image.AFFINE, (1, 0, 0, shear, 1, 0)),
        "translate_x": lambda: image.transform(image.size, Image.AFFINE, (1, 0, shift, 0, 1, 0)),
        "translate_y": lambda: image.transform(image.size, Image.AFFINE, (1, 0, 0, 0, 1, shift)),
        "rotate": lambda: image.rotate(sign * 135 * strength),
        "brightness": lambda: ImageEnhance.Brightness(image).enhance(factor),
        "color": lambda: ImageEnhance.Color(image).enhance(factor),
        "contrast": lambda: ImageEnhance.Contrast(image).enhance(factor),
        "sharpness": lambda: ImageEnhance.Sharpness(image).enhance(factor),
        "posterize": lambda: ImageOps.posterize(image, 8 - round(6 * strength)),
        "solarize": lambda: ImageOps.solarize(image, 255 - 255 * strength),
        "autocontrast": lambda: ImageOps.autocontrast(image),
        "equalize": lambda: ImageOps.equalize(image),
    }[operation]()
    return np.asarray(result).reshape(pixels.shape)


def natural(height, width, channels):
    """Images of many kinds: noise, smooth, dim, of two colors, of one color."""
    noise = RANDOM.integers(0, 256, (3, height, width, channels))
    smooth = scipy.ndimage.gaussian_filter(RANDOM.normal(128, 400, (6, height, width, channels)), (0, 3, 3, 0))
    dim = RANDOM.integers(90, 130, (3, height, width, channels))
    two = np.where(RANDOM.random((2, height, width, channels)) < 0.3, 20, 200)
    one = np.full((2, height, width, channels), 77)
    return np.clip(np.concatenate([noise, smooth, dim, two, one]), 0, 255).astype("uint8")


def differences(found, image, operation, level, sign):
    """The largest difference from Pillow in gray levels, where rounding does not choose between two near pixels."""
    difference = np.abs(found.astype(int) - pillow(operation, image, level, sign)).max(axis=-1)
    if operation != "rotate":
        return difference.max()
    angle, (height, width) = np.radians(sign * 135 * level / 30), image.shape[:2]
    cos, sin = np.cos(angle), np.sin(angle)
    matrix = ops.convert_to_numpy(about_center(height, width, ((cos, sin), (-sin, cos))))
    sure = far_from_ties(matrix[None], height, width)[0]
    assert sure.mean() > 0.8
    return difference[sure].max()


@pytest.mark.parametrize("shape", [(32, 32, 3), (28, 20, 3), (32, 32, 1)])
@pytest.mark.parametrize("level", [0, 1, 7, 10, 13, 20, 22, 30])
def test_the_operations_of_trivial_augment_are_those_of_pillow(level, shape):
    x = natural(*shape)
    for sign in (-1, 1):
        levels, signs = np.full((14, len(x)), level, "int32"), np.full((14, len(x)), sign, "int32")
        pixels = np.broadcast_to(x.astype("float32"), (14, *x.shape))
        out = trivial_augment.operate(*map(ops.convert_to_tensor, (pixels, levels, signs)), fill=0)
        for operation, images in zip(trivial_augment.OPERATIONS, ops.convert_to_numpy(out), strict=True):
            # Pillow's autocontrast loses a level now and then to the rounding of a quotient of whole numbers.
            allowed = 1 if operation == "autocontrast" else 0
            for image, found in zip(x, images, strict=True):
                assert differences(found, image, operation, level, sign) <= allowed, operation


def test_trivial_augment_makes_what_pillow_makes():
    """Each image that comes out is one that Pillow makes of the image that went in."""
    x = np.concatenate([natural(12, 10, 3), PIXELS])[:64]
    out = apply(layers.TrivialAugmentWide(seed=0), x, training=True)
    for image, found in zip(x[:24], out, strict=False):
        made = (
            differences(found, image, operation, level, sign)
            for operation in trivial_augment.OPERATIONS
            for level in range(31)
            for sign in (-1, 1)
        )
        assert any(difference <= 1 for difference in made)


def test_trivial_augment_fills():
    x = np.full(PIXELS.shape, 9, "uint8")
    out = apply(layers.TrivialAugmentWide(fill=(1, 2, 3), seed=0), x, training=True)
    assert ((out == (1, 2, 3)).all(axis=-1).any(axis=(1, 2))).sum() > 5


@pytest.fixture
def operations(monkeypatch):
    """The layer with each operation replaced by one that paints its own number; the draws of all calls."""
    seen = []

    def paint(pixels, level, sign, fill):
        seen.append((ops.convert_to_numpy(level), ops.convert_to_numpy(sign)))
        numbers = ops.reshape(ops.arange(14, dtype="float32"), (14, 1, 1, 1, 1))
        return ops.zeros_like(pixels) + numbers + 100 * (pixels // 100)

    monkeypatch.setattr(trivial_augment, "operate", paint)
    return seen


@pytest.mark.parametrize("batch", [1, 2, 13, 14, 15, 27, 128])
def test_trivial_augment_shares_the_batch_out(operations, batch):
    layer = layers.TrivialAugmentWide(seed=0)
    kinds = RANDOM.integers(0, 3, batch)
    x = np.broadcast_to(100 * kinds[:, None, None, None], (batch, 3, 3, 1)).astype("float32")
    for _ in range(20):
        out = apply(layer, x, training=True)[:, 0, 0, 0].astype(int)
        np.testing.assert_array_equal(out // 100, kinds)  # every image gets its own back
        counts = np.bincount(out % 100, minlength=14)
        assert len(counts) == 14 and set(counts) <= {batch // 14, -(-batch // 14)}
        assert operations[-1][0].shape == (14, -(-batch // 14))


def test_trivial_augment_draws_each_operation_alike_for_each_image(operations):
    layer, x = layers.TrivialAugmentWide(seed=0), np.zeros((9, 3, 3, 1), "float32")
    drawn = np.stack([apply(layer, x, training=True)[:, 0, 0, 0].astype(int) for _ in range(500)])
    counts = np.stack([np.bincount(column, minlength=14) for column in drawn.T])
    assert scipy.stats.chisquare(counts, axis=1).pvalue.min() > 0.001 / 9
    level, sign = (np.concatenate([np.ravel(call[i]) for call in operations]) for i in range(2))
    assert scipy.stats.chisquare(np.bincount(level, minlength=31)).pvalue > 0.001 and level.max() == 30
    assert scipy.stats.chisquare(np.bincount(sign + 1)[[0, 2]]).pvalue > 0.001 and set(sign) == {-1, 1}
