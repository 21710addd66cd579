"""The corruptions against OpenCV, scikit-image and SciPy, image by image, and given the same random numbers."""

import io
import os
import tracemalloc

import cv2
import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
import skimage.color
import skimage.filters
import skimage.util

from cifar_zoo import CifarZooError
from cifar_zoo.evaluation import corruptions
from cifar_zoo.evaluation.corruptions import CORRUPTIONS, EXTRA_CORRUPTIONS, corrupt, load_cifar10_c

ALL = CORRUPTIONS + EXTRA_CORRUPTIONS
# The largest share of values that may differ by one level, as sums are rounded in another order before the truncation.
# In elastic_transform they are float32 sums of OpenCV, many of which are whole pixel values.
ROUNDED = {"elastic_transform": 0.04}


@pytest.fixture(scope="module")
def clean(small_npz):
    """200 test images; random colors where CIFAR-10 is not at hand."""
    with np.load(small_npz) as arrays:
        return arrays["x_test"]


# The procedures that were published, image by image: x is float64 (32, 32, 3) in 0..1, and `draws` gives the arrays of
# random numbers of this image, in the order in which they are needed.


def gaussian_blur(x, severity, draws):
    return skimage.filters.gaussian(x, [0.4, 0.6, 0.7, 0.8, 1][severity], channel_axis=-1)


def defocus_blur(x, severity, draws):
    radius, sigma = [(0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)][severity]
    inside = np.hypot(*np.mgrid[-8:9, -8:9]) <= radius
    kernel = cv2.GaussianBlur((inside / inside.sum()).astype("float32"), (3, 3), sigma)
    return cv2.filter2D(x, -1, kernel)


def glass_blur(x, severity, draws):
    sigma, passes = [(0.05, 1), (0.25, 1), (0.4, 1), (0.25, 2), (0.4, 2)][severity]
    pixels = np.uint8(255 * skimage.filters.gaussian(x, sigma, channel_axis=-1))
    for _ in range(passes):
        steps = next(draws)
        for row in reversed(range(2, 32)):
            for column in reversed(range(2, 32)):
                up, left = steps[row - 2, column - 2]
                here, there = pixels[row, column], pixels[row - up, column - left]
                here[:], there[:] = there, here  # of views: the second assignment changes nothing
    return skimage.filters.gaussian(pixels / 255, sigma, channel_axis=-1)


def line_blur(pixels, radius, sigma, degrees):
    """ImageMagick's, by a kernel."""
    kernel, angle = np.zeros((4 * radius + 1, 4 * radius + 1)), np.deg2rad(degrees)
    for step in range(2 * radius + 1):
        down, right = (int(np.ceil(step * slope - 0.5)) for slope in (np.sin(angle), np.cos(angle)))
        kernel[2 * radius + down, 2 * radius + right] += np.exp(-(step**2) / (2 * sigma**2))
    blurred = cv2.filter2D(pixels.astype(float), -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE)
    return np.round(257 * blurred) // 257


def motion_blur(x, severity, draws):
    radius, sigma = [(6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)][severity]
    return line_blur(np.round(255 * x), radius, sigma, next(draws)) / 255


def zoomed(x, factor):
    size = int(np.ceil(32 / factor))
    top = (32 - size) // 2
    part = scipy.ndimage.zoom(x[top : top + size, top : top + size], (factor, factor, 1), order=1)
    trim = (len(part) - 32) // 2
    return part[trim : trim + 32, trim : trim + 32]


def zoom_blur(x, severity, draws):
    factors = np.arange(1, [1.06, 1.11, 1.16, 1.21, 1.26][severity], 0.01)
    x = np.float32(x)  # as was published: what a constant area is truncated to depends on it
    return (x + sum((zoomed(x, factor) for factor in factors), start=np.zeros_like(x))) / (len(factors) + 1)


def snow(x, severity, draws):
    _, _, zoom, threshold, radius, sigma, kept = [
        (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
        (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    ][severity]
    flakes = zoomed(next(draws)[..., None], zoom)[..., 0]
    flakes = np.uint8(255 * np.clip(np.where(flakes < threshold, 0, flakes), 0, 1))
    flakes = line_blur(flakes, radius, sigma, next(draws))[..., None] / 255
    x = np.float32(x)
    gray = cv2.cvtColor(x, cv2.COLOR_RGB2GRAY)[..., None]
    return kept * x + (1 - kept) * np.maximum(x, 1.5 * gray + 0.5) + flakes + np.rot90(flakes, 2)


def fog(x, severity, draws):
    thickness, decay = [(0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)][severity]
    clouds, step = np.zeros((32, 32)), 32
    while step > 1:
        half = step // 2
        for first_row, first_column, corners in (
            (half, half, [(-half, -half), (-half, half), (half, -half), (half, half)]),
            (0, half, [(0, -half), (0, half), (-half, 0), (half, 0)]),
            (half, 0, [(0, -half), (0, half), (-half, 0), (half, 0)]),
        ):
            displaced = next(draws)
            for row in range(first_row, 32, step):
                for column in range(first_column, 32, step):
                    mean = np.mean([clouds[(row + down) % 32, (column + right) % 32] for down, right in corners])
                    clouds[row, column] = (
                        mean + 100 / decay ** np.log2(32 / step) * displaced[row // step, column // step]
                    )
        step = half
    clouds = (clouds - clouds.min()) / np.ptp(clouds)
    return (x + thickness * clouds[..., None]) * x.max() / (x.max() + thickness)


def brightness(x, severity, draws):
    hue, saturation, value = np.moveaxis(skimage.color.rgb2hsv(x), -1, 0)
    value = np.minimum(value + [0.05, 0.1, 0.15, 0.2, 0.3][severity], 1)
    return skimage.color.hsv2rgb(np.stack([hue, saturation, value], axis=-1))


def saturate(x, severity, draws):
    factor, added = [(0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)][severity]
    hue, saturation, value = np.moveaxis(skimage.color.rgb2hsv(x), -1, 0)
    saturation = np.clip(saturation * factor + added, 0, 1)
    return skimage.color.hsv2rgb(np.stack([hue, saturation, value], axis=-1))


def contrast(x, severity, draws):
    mean = x.mean(axis=(0, 1))
    return (x - mean) * [0.75, 0.5, 0.4, 0.3, 0.15][severity] + mean


def elastic_transform(x, severity, draws):
    distance, sigma = [(0, 0), (1.6, 6.4), (2.56, 1.92), (3.2, 1.28), (3.2, 0.96)][severity]
    corners = np.float32([[26, 26], [26, 6], [6, 6]])
    affine = cv2.getAffineTransform(corners, corners + next(draws).astype("float32"))
    # This is warpAffine of OpenCV 4, which rounds to 1/1024 and then to 1/32 pixel. That of OpenCV 5 does not.
    rows, columns, channels = np.mgrid[:32, :32, :3]
    places = [
        np.floor((np.round(1024 * by_column * columns) + np.round(1024 * (by_row * rows + start)) + 16) / 32) / 32
        for by_column, by_row, start in reversed(cv2.invertAffineTransform(affine))
    ]
    x = scipy.ndimage.map_coordinates(np.float32(x), [*places, channels], order=1, mode="mirror")
    right, down = (
        distance * skimage.filters.gaussian(next(draws), sigma, mode="reflect", truncate=3) for _ in range(2)
    )
    places = [rows + down[..., None], columns + right[..., None], channels]
    return scipy.ndimage.map_coordinates(x, places, order=1, mode="reflect")


def pixelate(x, severity, draws):
    small = [30, 28, 27, 24, 20][severity]

    def resized(pixels, size):
        centers = (np.arange(size) + 0.5) * len(pixels) / size
        reach = max(1, len(pixels) / size) / 2
        distance = centers[:, None] - (np.arange(len(pixels)) + 0.5)
        weights = ((distance >= -reach) & (distance < reach)).astype(float)
        weights /= weights.sum(axis=1, keepdims=True)
        across = np.floor(np.einsum("dc,rck->rdk", weights, pixels) + 0.5)
        return np.floor(np.einsum("dr,rck->dck", weights, across) + 0.5)

    return resized(resized(np.round(255 * x), small), 32) / 255


def jpeg_compression(x, severity, draws):
    quality = [80, 65, 58, 50, 40][severity]
    _, file = cv2.imencode(".jpg", np.uint8(np.round(255 * x))[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cv2.imdecode(file, cv2.IMREAD_COLOR)[..., ::-1] / 255


def spatter(x, severity, draws):
    sigma, threshold, amount = [(0.7, 0.7, 0.5), (0.8, 0.7, 0.5), (1, 0.69, 0.5), (0.7, 0.69, 0.6), (0.5, 0.68, 0.6)][
        severity
    ]
    liquid = skimage.filters.gaussian(next(draws), sigma)
    liquid[liquid < threshold] = 0
    if severity >= 3:
        mud = skimage.filters.gaussian((liquid > threshold).astype("float32"), amount)[..., None]
        mud = np.where(mud < 0.8, 0, mud)
        return x * (1 - mud) + mud * np.array([63, 42, 20]) / 255
    drops = np.uint8(255 * liquid)
    distance = cv2.distanceTransform(255 - cv2.Canny(drops, 50, 150), cv2.DIST_L2, 5)
    relief = cv2.equalizeHist(cv2.blur(np.minimum(distance, 20), (3, 3)).astype("uint8"))
    relief = cv2.blur(cv2.filter2D(relief, cv2.CV_8U, np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])), (3, 3))
    wet = drops * relief.astype("float32")
    return x + amount * (wet / wet.max())[..., None] * np.array([175, 238, 238]) / 255


class Recorder:
    """A generator that keeps the arrays it has drawn."""

    def __init__(self, generator, drawn):
        self.generator, self.drawn = generator, drawn

    def spawn(self, count):
        return [Recorder(child, self.drawn) for child in self.generator.spawn(count)]

    def __getattr__(self, name):
        def draw(*arguments, **options):
            self.drawn.append(getattr(self.generator, name)(*arguments, **options))
            return self.drawn[-1]

        return draw


def recorded(x, name, severity):
    """Corrupt images, and return for each an iterator over the numbers that were drawn for it as well."""
    function, strengths = corruptions._STRENGTHS[name]
    drawn = []
    result = function(x, strengths[severity - 1], Recorder(np.random.default_rng(severity), drawn))
    return np.asarray(result).astype("uint8"), [iter([array[i] for array in drawn]) for i in range(len(x))]


PUBLISHED = {
    function.__name__: function
    for function in (
        defocus_blur, glass_blur, motion_blur, zoom_blur, snow, fog, brightness, contrast, elastic_transform, pixelate,
        jpeg_compression, gaussian_blur, spatter, saturate,
    )
}  # fmt: skip


@pytest.mark.parametrize("severity", range(1, 6))
@pytest.mark.parametrize("name", PUBLISHED)
def test_images_are_those_of_the_published_procedure_given_the_same_random_numbers(clean, name, severity):
    x = clean[: 5 if name in ("glass_blur", "fog") else 30]
    images, draws = recorded(x, name, severity)
    expected = [
        255 * np.clip(PUBLISHED[name](image / 255, severity - 1, d), 0, 1) for image, d in zip(x, draws, strict=True)
    ]
    difference = abs(images.astype(int) - np.uint8(expected))
    assert difference.max() <= 1
    assert (difference > 0).mean() <= ROUNDED.get(name, 2e-4)


def normal(mean, deviation):
    return scipy.stats.norm(mean, deviation)


def uniform(low, high):
    return scipy.stats.uniform(low, high - low)


# The distributions of the arrays that are drawn for an image, and their shapes, for each severity.
FLAKES = [(0.1, 0.2), (0.1, 0.2), (0.15, 0.3), (0.25, 0.3), (0.3, 0.3)]
DROPS, CORNERS = [(0.62, 0.1), (0.65, 0.1), (0.65, 0.3), (0.65, 0.1), (0.65, 0.1)], [2.56, 2.24, 1.92, 1.6, 0.96]
DRAWS = {
    "glass_blur": [[(scipy.stats.bernoulli(0.5), (30, 30, 2))] * passes for passes in (1, 1, 1, 2, 2)],
    "motion_blur": [[(uniform(-45, 45), ())]] * 5,
    "snow": [[(normal(*flakes), (32, 32)), (uniform(-135, -45), ())] for flakes in FLAKES],
    "fog": [
        [
            (uniform(-100 / decay**level, 100 / decay**level), (2**level, 2**level))
            for level in range(5)
            for _ in range(3)
        ]
        for decay in (3, 3, 2.5, 2, 1.75)
    ],
    "elastic_transform": [
        [(uniform(-most, most), (3, 2)), (uniform(-1, 1), (32, 32)), (uniform(-1, 1), (32, 32))] for most in CORNERS
    ],
    "spatter": [[(normal(*drops), (32, 32))] for drops in DROPS],
}


@pytest.mark.parametrize("severity", range(1, 6))
@pytest.mark.parametrize("name", DRAWS)
def test_the_random_numbers_have_the_published_distributions(clean, name, severity):
    _, draws = recorded(clean[:60], name, severity)
    for distribution, shape in DRAWS[name][severity - 1]:
        drawn = np.array([next(numbers) for numbers in draws])
        assert drawn.shape == (60, *shape)
        assert len(np.unique(drawn[:, ..., None].reshape(60, -1), axis=0)) == 60  # each image has its own
        if name == "glass_blur":
            assert abs(drawn.mean(axis=(0, 1, 2)) - 0.5).max() < 0.01
            assert abs(np.corrcoef(drawn.reshape(-1, 2).T)[0, 1]) < 0.02
        else:
            assert scipy.stats.kstest(drawn.ravel(), distribution.cdf).pvalue > 1e-4
            low, high = distribution.support()
            assert low <= drawn.min() and drawn.max() <= high
            assert np.isinf(high) or drawn.size < 300 or np.ptp(drawn) > 0.97 * (high - low)
    assert all(next(numbers, None) is None for numbers in draws)


def gaussian_noise(x, severity, draws):
    return skimage.util.random_noise(x, "gaussian", var=[0.04, 0.06, 0.08, 0.09, 0.1][severity] ** 2, rng=draws)


def shot_noise(x, severity, draws):
    photons = [500, 250, 100, 75, 50][severity]
    return scipy.stats.poisson(photons * x).rvs(random_state=draws) / photons


def impulse_noise(x, severity, draws):
    return skimage.util.random_noise(x, "s&p", amount=[0.01, 0.02, 0.03, 0.05, 0.07][severity], rng=draws)


def speckle_noise(x, severity, draws):
    return skimage.util.random_noise(x, "speckle", var=[0.06, 0.1, 0.12, 0.16, 0.2][severity] ** 2, rng=draws)


NOISE = {function.__name__: function for function in (gaussian_noise, shot_noise, impulse_noise, speckle_noise)}


def change(images, clean):
    return abs(images.astype(int) - clean).mean()


@pytest.mark.parametrize("severity", range(1, 6))
@pytest.mark.parametrize("name", [*NOISE, *DRAWS])
def test_random_corruptions_change_pixels_as_much_as_the_published_procedure(clean, name, severity):
    x = clean[: 50 if name in ("fog", "glass_blur") else 200]
    random = np.random.default_rng(1)
    reference = []
    for image in x:
        if name in NOISE:
            result = NOISE[name](image / 255, severity - 1, random)
        else:
            draws = [distribution.rvs(shape, random) for distribution, shape in DRAWS[name][severity - 1]]
            result = PUBLISHED[name](image / 255, severity - 1, iter(draws))
        reference.append(np.uint8(255 * np.clip(result, 0, 1)))
    ratio = change(corrupt(x, name, severity), x) / change(np.array(reference), x)
    assert ratio == pytest.approx(1, abs=0.03 if name in NOISE else 0.06)


@pytest.mark.parametrize("severity", range(1, 6))
def test_noise_has_its_distribution(severity):
    gray = np.full((20, 32, 32, 3), 102, np.uint8)

    def noise(name):
        return (corrupt(gray, name, severity, seed=7) + 0.5 - 102) / 255  # 0.5 for the truncation

    deviation = [0.04, 0.06, 0.08, 0.09, 0.1][severity - 1]
    assert noise("gaussian_noise").std() == pytest.approx(deviation, rel=0.02)
    assert scipy.stats.skew(noise("gaussian_noise"), axis=None) == pytest.approx(0, abs=0.06)
    photons = [500, 250, 100, 75, 50][severity - 1]
    assert noise("shot_noise").std() == pytest.approx((0.4 / photons) ** 0.5, rel=0.02)
    assert scipy.stats.skew(noise("shot_noise"), axis=None) == pytest.approx((0.4 * photons) ** -0.5, abs=0.06)
    speckle = [0.06, 0.1, 0.12, 0.16, 0.2][severity - 1]
    assert noise("speckle_noise").std() == pytest.approx(0.4 * speckle, rel=0.02)
    for name in ("gaussian_noise", "shot_noise", "speckle_noise"):
        assert noise(name).mean() == pytest.approx(0, abs=0.002)
        channels = noise(name).reshape(-1, 3)
        assert abs(np.corrcoef(channels.T) - np.eye(3)).max() < 0.03  # each channel has noise of its own
    hit = corrupt(gray, "impulse_noise", severity)
    share = [0.01, 0.02, 0.03, 0.05, 0.07][severity - 1]
    assert (hit == 0).mean() == pytest.approx(share / 2, rel=0.15)
    assert (hit == 255).mean() == pytest.approx(share / 2, rel=0.15)
    assert set(np.unique(hit)) <= {0, 102, 255}


# Of four photographs of frost, reduced to a fifth as for the published set, in crops of 32 x 32 pixels: the mean color,
# the standard deviation of the brightness, and the share of its variance above a quarter of the sampling frequency.
PHOTOGRAPHS = {
    0: ((77.9, 148.4, 164.7), 14.4, 0.38),
    1: ((198.1, 202.5, 211.8), 18.2, 0.53),  # twice among the five that are used
    2: ((143.8, 158.6, 171.3), 26.1, 0.64),
    3: ((102.1, 113.4, 125.2), 34.6, 0.53),
}


def test_frost_is_mixed_in_from_textures_that_resemble_the_photographs():
    black = np.zeros((1500, 32, 32, 3), np.uint8)
    crops = corrupt(black, "frost", 5) / 0.45
    kinds = abs(crops.mean(axis=(1, 2))[:, None] - [color for color, _, _ in PHOTOGRAPHS.values()]).sum(-1).argmin(1)
    assert np.bincount(kinds) / 1500 == pytest.approx([0.2, 0.4, 0.2, 0.2], abs=0.04)
    frequency = np.hypot(np.fft.fftfreq(32)[:, None], np.fft.fftfreq(32))
    for kind, (color, deviation, fine) in PHOTOGRAPHS.items():
        found = crops[kinds == kind]
        assert found.mean(axis=(0, 1, 2)) == pytest.approx(color, abs=6)
        bright = found.mean(axis=-1)
        bright -= bright.mean(axis=(1, 2), keepdims=True)
        assert bright.std(axis=(1, 2)).mean() == pytest.approx(deviation, rel=0.1)
        power = (abs(np.fft.fft2(bright)) ** 2).mean(axis=0)
        assert power[frequency > 0.25].sum() / power.sum() == pytest.approx(fine, abs=0.08)


def test_frost_has_the_published_strengths():
    function, strengths = corruptions._STRENGTHS["frost"]

    def frosted(level, severity):  # the same crops for all
        return function(np.full((40, 32, 32, 3), level, np.uint8), strengths[severity], np.random.default_rng(5))

    crops = frosted(0, 0) / 0.2
    assert crops.max() <= 255 and len(np.unique(crops.reshape(40, -1), axis=0)) == 40
    for severity, (kept, added) in enumerate([(1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)]):
        for level in (0, 100, 255):
            expected = np.clip(kept * level + added * crops, 0, 255)
            np.testing.assert_allclose(frosted(level, severity), expected, atol=1e-9)


# Where the published strengths do not become stronger: frost and saturate change in kind, and the others trade.
INCREASING = [
    name
    for name in ALL
    if name not in ("glass_blur", "motion_blur", "frost", "elastic_transform", "spatter", "saturate")
]


@pytest.mark.parametrize("name", INCREASING)
def test_images_change_more_with_every_severity(clean, name):
    changes = [change(corrupt(clean, name, severity), clean) for severity in range(1, 6)]
    assert (np.diff(changes) > 0).all()


def test_the_names_are_the_published_ones():
    assert len(CORRUPTIONS) == 15 and len(EXTRA_CORRUPTIONS) == 4
    assert tuple(corruptions._STRENGTHS) == ALL  # a seed means the place in this order
    assert all(len(strengths) == 5 for _, strengths in corruptions._STRENGTHS.values())


@pytest.mark.parametrize("name", ALL)
def test_the_result_for_an_image_depends_on_its_position_and_the_seed_only(clean, name):
    x = clean[:130]  # more than are computed at once
    before = x.copy()
    images = corrupt(x, name, 3, seed=1)
    np.testing.assert_array_equal(x, before)
    assert images.shape == x.shape and images.dtype == np.uint8 and images.flags.writeable
    for count in (0, 1, 7, 100, 101):
        np.testing.assert_array_equal(corrupt(x[:count], name, 3, seed=1), images[:count])
    np.testing.assert_array_equal(corrupt(np.asfortranarray(x), name, 3, seed=np.int64(1)), images)
    same = corrupt(np.repeat(x[:1], 130, axis=0), name, 3, seed=1)
    is_random = name in {*NOISE, *DRAWS, "frost"}
    different = len(np.unique(same.reshape(130, -1), axis=0))
    if name == "motion_blur":  # there are not so many lines through whole pixels
        assert different > 40
    else:
        assert different == (130 if is_random else 1)
    assert (corrupt(x, name, 3, seed=2) != images).any() == is_random


def test_every_severity_and_corruption_has_its_own_numbers():
    gray = np.full((2, 32, 32, 3), 128, np.uint8)
    signs = [corrupt(gray, name, severity) > 127 for name in ("gaussian_noise", "speckle_noise") for severity in (2, 3)]
    assert abs(np.corrcoef([sign.ravel() for sign in signs]) - np.eye(4)).max() < 0.1


@pytest.mark.parametrize("shape", [(16, 16), (17, 40), (96, 64), (200, 180)])
@pytest.mark.parametrize("name", ALL)
def test_other_sizes(name, shape):
    x = np.random.default_rng(0).integers(100, 130, (3, *shape, 3), "uint8")
    images = corrupt(x, name, 4)
    assert images.shape == x.shape
    assert 0 < change(images, x) < 120
    np.testing.assert_array_equal(corrupt(x[:2], name, 4), images[:2])


@pytest.mark.parametrize(
    "name", ["brightness", "saturate", "contrast", "fog", "spatter", "gaussian_blur", "jpeg_compression"]
)
def test_black_and_white_images(name):
    for level in (0, 255):
        x = np.full((2, 32, 32, 3), level, np.uint8)
        for severity in range(1, 6):
            images = corrupt(x, name, severity)
            if name in ("contrast", "gaussian_blur") or (name == "saturate" and level == 0):
                np.testing.assert_array_equal(images, x)
            if name == "jpeg_compression":
                assert abs(images.astype(int) - x).max() <= 1
    assert (corrupt(np.zeros((1, 32, 32, 3), np.uint8), "brightness", 4) == 51).all()


def test_images_without_drops_stay_as_they_are():
    function, strengths = corruptions._STRENGTHS["spatter"]
    x = np.full((2, 32, 32, 3), 90, np.uint8)
    for mean, *strength in strengths:
        np.testing.assert_allclose(function(x, (mean - 9, *strength), np.random.default_rng(0)), x, atol=1e-4)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("blur", 1), "corruption must be one of gaussian_noise, .*, saturate, not 'blur'"),
        (("Fog", 1), "corruption must be one of .*, not 'Fog'"),
        ((None, 1), "corruption must be one of .*, not None"),
        ((["fog"], 1), r"corruption must be one of .*, not \['fog'\]"),
        (("fog", 0), "severity must be an integer from 1 to 5, not 0"),
        (("fog", 6), "severity must be an integer from 1 to 5, not 6"),
        (("fog", -1), "severity must be an integer from 1 to 5, not -1"),
        (("fog", True), "severity must be an integer, not True"),
        (("fog", 2.5), "severity must be an integer, not 2.5"),
        (("fog", float("nan")), "severity must be an integer, not nan"),
        (("fog", "3"), "severity must be an integer, not '3'"),
        (("fog", None), "severity must be an integer, not None"),
    ],
)
def test_unknown_corruptions_and_severities_are_refused(tmp_path, arguments, message):
    for use in (
        lambda: corrupt(np.zeros((1, 32, 32, 3), np.uint8), *arguments),
        lambda: load_cifar10_c(tmp_path, *arguments),
    ):
        with pytest.raises(CifarZooError, match=message):
            use()


@pytest.mark.parametrize(
    "images, message",
    [
        (np.zeros((2, 32, 32, 3)), r"images must be uint8 \(n, rows, columns, 3\), .*, not float64 \(2, 32, 32, 3\)"),
        (np.zeros((32, 32, 3), np.uint8), r"not uint8 \(32, 32, 3\)"),
        (np.zeros((2, 32, 32, 1), np.uint8), r"not uint8 \(2, 32, 32, 1\)"),
        (np.zeros((2, 3, 32, 32), np.uint8), r"not uint8 \(2, 3, 32, 32\)"),
        (np.zeros((2, 32, 15, 3), np.uint8), r"at least 16 rows and columns, not uint8 \(2, 32, 15, 3\)"),
        ([[1, 2], [3]], "images must be an array, not a list"),
        ("images.npy", "images must be uint8"),
        (None, "images must be uint8"),
    ],
)
def test_what_are_no_images_is_refused(images, message):
    with pytest.raises(CifarZooError, match=message):
        corrupt(images, "gaussian_noise", 1)


@pytest.mark.parametrize("seed", [-1, 1.5, True, None, "0", 2**63])
def test_what_is_no_seed_is_refused(seed):
    with pytest.raises(CifarZooError, match="seed must be an integer"):
        corrupt(np.zeros((1, 32, 32, 3), np.uint8), "gaussian_noise", 1, seed=seed)


def test_memory_is_bounded():
    """10,000 images need few more bytes than those of the result."""
    x = np.broadcast_to(np.uint8(7), (10_000, 32, 32, 3))
    for name in ("contrast", "motion_blur"):
        tracemalloc.start()
        corrupt(x, name, 1)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert most < 60e6


# The published files.


@pytest.fixture
def published(tmp_path):
    """A folder as the archive has it, whose files are mostly holes: the pixels and labels are the severity."""
    images = np.lib.format.open_memmap(tmp_path / "fog.npy", "w+", np.uint8, (50_000, 32, 32, 3))
    labels = np.zeros(50_000, np.uint8)
    for severity in range(1, 6):
        end = 10_000 * severity
        images[[end - 10_000, end - 1]], labels[end - 10_000 : end] = severity, severity
    del images
    np.save(tmp_path / "labels.npy", labels)
    return tmp_path


def test_the_images_of_each_severity_are_read_from_the_published_files(published):
    for severity in range(1, 6):
        images, labels = load_cifar10_c(str(published), "fog", severity)
        assert images.shape == (10_000, 32, 32, 3) and images.dtype == np.uint8 and images.flags.writeable
        assert (images[[0, -1]] == severity).all() and not images[1:-1].any()
        assert labels.shape == (10_000,) and labels.dtype == np.uint8 and (labels == severity).all()


@pytest.mark.parametrize("dtype", ["int64", ">i4", "int8"])
def test_labels_may_be_integers_of_any_type(published, dtype):
    np.save(published / "labels.npy", (np.arange(50_000) % 10).astype(dtype))
    _, labels = load_cifar10_c(published, "fog", 2)
    assert labels.dtype == np.uint8 and (labels == np.arange(10_000) % 10).all()


def test_what_is_missing_is_named(published):
    with pytest.raises(CifarZooError, match=r"elsewhere: there is no such folder; unpack CIFAR-10-C.tar from https://"):
        load_cifar10_c(published / "elsewhere", "fog", 1)
    with pytest.raises(CifarZooError, match="fog.npy: there is no such folder"):
        load_cifar10_c(published / "fog.npy", "fog", 1)
    with pytest.raises(CifarZooError, match="has no snow.npy; unpack CIFAR-10-C.tar"):
        load_cifar10_c(published, "snow", 1)
    (published / "labels.npy").unlink()
    with pytest.raises(CifarZooError, match="has no labels.npy;"):
        load_cifar10_c(published, "fog", 1)
    with pytest.raises(CifarZooError, match="has no snow.npy and no labels.npy;"):
        load_cifar10_c(published, "snow", 1)


def npy(array, **options):
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def header(shape, descr="|u1", order=False):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": order, "shape": shape})
    return file.getvalue()


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "fog.npy' is empty"),
        (b"PK\x03\x04 an archive", r"fog.npy: is no .npy file of uint8 \(50000, 32, 32, 3\) \(.*magic"),
        (b"\x93NUMPY\x07\x00", "is no .npy file of uint8"),
        (b"\x93NUMPY\x01\x00\xff\xff{", "is no .npy file of uint8"),
        (b"\x93NUMPY\x01\x00\x10\x00" + b"(" * 15 + b"\n", "is no .npy file of uint8"),
        (npy(np.zeros((5, 32, 32, 3), np.uint8)), r"it holds uint8 \(5, 32, 32, 3\)"),
        (npy(np.zeros((50_000, 3), np.float32)), r"it holds float32 \(50000, 3\)"),
        (npy(np.array([{}]), allow_pickle=True), r"it holds Python objects \(1,\)"),
        (header((50_000, 32, 32, 3), "|O"), r"it holds Python objects \(50000, 32, 32, 3\)"),
        (header((50_000, 32, 32, 3), "<f8"), r"it holds float64 \(50000, 32, 32, 3\)"),
        (header((50_000, 32, 32, 3), "|i1"), "it holds int8"),
        (header((50_000, 32, 32, 3), order=True), "in Fortran order"),
        (header((50_000, 32, 32, 3)) + bytes(100_000), "it has 100,128 bytes instead of 153,600,128"),
        (header((10**9, 10**9)), r"it holds uint8 \(1000000000, 1000000000\)"),
        (header((50_000, 32, 32, 3, 10**12)), "it holds uint8"),
        (header((50_000, 32, 32), [("r", "|u1"), ("g", "|u1"), ("b", "|u1")]), r"it holds void24 \(50000, 32, 32\)"),
    ],
)
def test_other_files_are_refused(published, content, message):
    (published / "fog.npy").write_bytes(content)
    with pytest.raises(CifarZooError, match=message) as error:
        load_cifar10_c(published, "fog", 5)
    assert len(str(error.value)) < 500 and "\n" not in str(error.value)


def test_files_that_are_too_long_are_refused(published):
    with (published / "fog.npy").open("ab") as file:
        file.write(b"!")
    with pytest.raises(CifarZooError, match="it has 153,600,129 bytes instead of 153,600,128"):
        load_cifar10_c(published, "fog", 1)


@pytest.mark.parametrize(
    "labels, message",
    [
        (
            np.zeros(10_000, np.uint8),
            r"labels.npy: is no .npy file of integers \(50000,\) \(it holds uint8 \(10000,\)\)",
        ),
        (np.zeros((50_000, 1), np.uint8), r"it holds uint8 \(50000, 1\)"),
        (np.zeros(50_000), "it holds float64"),
        (np.zeros(50_000, bool), "it holds bool"),
        (np.full(50_000, 10), r"labels must be 0\.\.9, not 10\.\.10"),
        (np.full(50_000, -1), r"labels must be 0\.\.9, not -1\.\.-1"),
    ],
)
def test_other_labels_are_refused(published, labels, message):
    np.save(published / "labels.npy", labels)
    with pytest.raises(CifarZooError, match=message):
        load_cifar10_c(published, "fog", 1)


@pytest.mark.parametrize("name", ["fog.npy", "labels.npy"])
def test_pipes_and_folders_in_place_of_files_are_refused(published, name):
    (published / name).unlink()
    os.mkfifo(published / name)
    with pytest.raises(CifarZooError, match=f"{name}' is not a regular file"):
        load_cifar10_c(published, "fog", 1)
    (published / name).unlink()
    (published / name).mkdir()
    with pytest.raises(CifarZooError, match=f"{name}' is a folder"):
        load_cifar10_c(published, "fog", 1)
