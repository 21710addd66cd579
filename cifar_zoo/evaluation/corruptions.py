"""The corruptions of CIFAR-10-C, computed from clean images or read from the published files.

Reference: Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations",
2019 (arXiv:1903.12261). The strengths are those published for CIFAR-10. Each step is that of the program that made the
published set, quirks included, but computed for many images at once and without OpenCV, scikit-image and ImageMagick.
Given the same random numbers, the two differ by one level in about one value out of 10,000 at most.
"""

from __future__ import annotations

import functools
import io
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cifar_zoo.checks import integer
from cifar_zoo.data.cifar10 import CLASSES
from cifar_zoo.errors import CifarZooError, shown
from cifar_zoo.files import named_path, open_file

CORRUPTIONS = (
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "defocus_blur",
    "glass_blur",
    "motion_blur",
    "zoom_blur",
    "snow",
    "frost",
    "fog",
    "brightness",
    "contrast",
    "elastic_transform",
    "pixelate",
    "jpeg_compression",
)
EXTRA_CORRUPTIONS = ("speckle_noise", "gaussian_blur", "spatter", "saturate")
SEVERITIES = 5
URL = "https://zenodo.org/records/2535967"  # the published set, CIFAR-10-C.tar

_IMAGES = 10_000  # test images, once for each severity in a published file
_SMALLEST = 16  # rows and columns; the random affine map of elastic_transform can fold smaller images
_BLOCK = 100 * 32 * 32  # pixels that are corrupted together

Corruption = Callable[[np.ndarray, Any, np.random.Generator], np.ndarray]


def corrupt(images: np.ndarray, corruption: str, severity: int, *, seed: int = 0) -> np.ndarray:
    """Corrupt images as those of CIFAR-10-C are.

    The draws of the random corruptions depend on the seed, the corruption, the severity and the position of the image
    in the array. They are not those of the published set, whose seed is not known. `frost` is a stand-in: the published
    set mixes in crops of five photographs, in whose place there are generated textures with their brightness, contrast,
    colors and spatial spectrum. The other corruptions follow the published procedure.

    Args:
        images: uint8 (n, rows, columns, 3), at least 16 rows and columns. The strengths are made for 32x32: lengths,
            such as the width of a blur, are in pixels.
        corruption: String. One of `CORRUPTIONS`, over which the published figures are averaged, or of
            `EXTRA_CORRUPTIONS`, with which hyper-parameters may be chosen.
        severity: Integer from 1 to 5.
        seed: Integer from 0. Seed of the random corruptions.

    Returns: uint8 of the same shape, a new array.

    Raises:
        CifarZooError: If the images are anything else, or there is no such corruption, severity or seed.
    """
    function, strength = _STRENGTHS[_known(corruption)]
    severity = _checked_severity(severity)
    key = (integer("seed", seed, at_least=0), list(_STRENGTHS).index(corruption), severity)
    images = _checked(images)
    corrupted = np.empty(images.shape, np.uint8)
    # Blocks bound the memory. Where they begin depends on the size of the images only, and the draws for the first
    # images of a block do not depend on how many follow.
    size = max(1, _BLOCK // (images.shape[1] * images.shape[2]))
    for block, start in enumerate(range(0, len(images), size)):
        random = np.random.default_rng((*key, block))
        result = function(images[start : start + size], strength[severity - 1], random)
        corrupted[start : start + size] = result.astype(np.uint8)  # which truncates, as in the published set
    return corrupted


def load_cifar10_c(path: str | Path, corruption: str, severity: int) -> tuple[np.ndarray, np.ndarray]:
    """Load the images of one corruption and severity from the published set.

    Args:
        path: The folder CIFAR-10-C to which the archive from https://zenodo.org/records/2535967 unpacks. It has a file
            `<corruption>.npy` for each corruption, uint8 (50000, 32, 32, 3), and a file `labels.npy`, (50000,).
        corruption: String. One of `CORRUPTIONS` or `EXTRA_CORRUPTIONS`.
        severity: Integer from 1 to 5.

    Returns:
        `(images, labels)`: uint8 (10000, 32, 32, 3), in the order of the test images of CIFAR-10, and uint8 (10000,).

    Raises:
        CifarZooError: If there is no such folder, file, corruption or severity, or a file is something else.
    """
    names = (f"{_known(corruption)}.npy", "labels.npy")
    severity = _checked_severity(severity)
    folder = named_path(path)
    if not folder.is_dir():
        raise CifarZooError(f"{folder}: there is no such folder; unpack CIFAR-10-C.tar from {URL}")
    if missing := [name for name in names if not (folder / name).exists()]:
        raise CifarZooError(f"{folder}: has no {' and no '.join(missing)}; unpack CIFAR-10-C.tar from {URL}")
    images = _read_part(folder / names[0], severity, (32, 32, 3), "uint8")
    labels = _read_part(folder / names[1], severity, (), "integers")
    if labels.min() < 0 or labels.max() >= len(CLASSES):
        raise CifarZooError(
            f"{folder / names[1]}: labels must be 0..{len(CLASSES) - 1}, not {labels.min()}..{labels.max()}"
        )
    return images, labels.astype(np.uint8)


def _read_part(path: Path, severity: int, shape: tuple[int, ...], kind: str) -> np.ndarray:
    """Read the entries of one severity from a .npy file that may hold anything; no others are read."""
    whole = (SEVERITIES * _IMAGES, *shape)
    with open_file(path) as file:
        try:
            found, by_columns, dtype = _read_header(file)
            if found != whole or not _is_a(dtype, kind) or by_columns:
                name = "Python objects" if dtype.hasobject else dtype.name
                raise ValueError(f"it holds {name} {shown(found)}{' in Fortran order' * by_columns}")
            part = np.empty((_IMAGES, *shape), dtype)
            start = file.tell()
            size, needed = os.fstat(file.fileno()).st_size, start + SEVERITIES * part.nbytes
            if size != needed:
                raise ValueError(f"it has {size:,} bytes instead of {needed:,}")
            file.seek(start + (severity - 1) * part.nbytes)
            if file.readinto(part.data) != part.nbytes:
                raise ValueError("it became shorter while it was read")
        except Exception as error:  # NumPy and the system each have their own
            raise CifarZooError(
                f"{path}: is no .npy file of {kind} {whole} ({error}); unpack CIFAR-10-C.tar from {URL} again"
            ) from error
    return part


def _read_header(file: io.BufferedReader) -> tuple[tuple[int, ...], bool, np.dtype]:
    """The shape in the header of a .npy file, whether columns come first, and the type of the entries."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    return np.lib.format.read_array_header_2_0(file)  # version 3 is for names of fields, which these arrays have not


def _is_a(dtype: np.dtype, kind: str) -> bool:
    return dtype == np.uint8 if kind == "uint8" else dtype.kind in "iu"


def _known(corruption: str) -> str:
    if not isinstance(corruption, str) or corruption not in _STRENGTHS:
        raise CifarZooError(f"corruption must be one of {', '.join(_STRENGTHS)}, not {shown(corruption)}")
    return corruption


def _checked_severity(severity: int) -> int:
    if not 1 <= (number := integer("severity", severity, at_least=None)) <= SEVERITIES:
        raise CifarZooError(f"severity must be an integer from 1 to {SEVERITIES}, not {shown(severity)}")
    return int(number)


def _checked(images: Any) -> np.ndarray:
    try:
        images = np.asarray(images)
    except (TypeError, ValueError):  # no array, such as rows of different lengths
        raise CifarZooError(f"images must be an array, not a {type(images).__name__}") from None
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or min(images.shape[1:3]) < _SMALLEST:
        raise CifarZooError(
            f"images must be uint8 (n, rows, columns, 3), with at least {_SMALLEST} rows and columns, "
            f"not {images.dtype} {images.shape}"
        )
    return images


# Each corruption takes uint8 images (n, rows, columns, 3), its strength and a generator, and returns pixels 0..255 that
# are still to be truncated. Where it draws several arrays of random numbers, each is from a generator of its own, so
# that the first numbers in all of them are the same however many images there are. Types and the order of operations
# are those of the original where the result depends on them: a pixel of 0.2 * 255 is 51 or, by a last bit, 50.

# Noise.


def _gaussian_noise(x: np.ndarray, deviation: float, random: np.random.Generator) -> np.ndarray:
    return _pixels(x / 255 + random.normal(scale=deviation, size=x.shape))


def _shot_noise(x: np.ndarray, photons: float, random: np.random.Generator) -> np.ndarray:
    return _pixels(random.poisson(x / 255 * photons) / photons)


def _impulse_noise(x: np.ndarray, share: float, random: np.random.Generator) -> np.ndarray:
    hit, white = (generator.random(x.shape) for generator in random.spawn(2))
    return np.where(hit <= share, np.where(white <= 0.5, 255.0, 0.0), _pixels(x / 255))


def _speckle_noise(x: np.ndarray, deviation: float, random: np.random.Generator) -> np.ndarray:
    return _pixels(x / 255 * (1 + random.normal(scale=deviation, size=x.shape)))


def _pixels(x: np.ndarray) -> np.ndarray:
    """Values 0..1 as pixels 0..255, clipped."""
    x = np.clip(x, 0, 1)
    x *= 255
    return x


# Blurs.


def _gaussian(x: np.ndarray, sigma: float, mode: Any = "edge", truncate: float = 4.0) -> np.ndarray:
    """Filter images (n, rows, columns, ...) by a Gaussian, with the sums in the order of SciPy's gaussian_filter."""
    radius = int(truncate * sigma + 0.5)
    if radius == 0:
        return x
    weights = np.exp(-0.5 / sigma**2 * np.arange(-radius, radius + 1) ** 2)
    weights = weights[radius:] / weights.sum()
    for axis in (1, 2):
        margins = [(radius, radius) if axis == padded else (0, 0) for padded in range(x.ndim)]
        views = np.lib.stride_tricks.sliding_window_view(np.pad(x, margins, mode=mode), x.shape[axis], axis)
        views = np.moveaxis(np.moveaxis(views, -1, axis), axis + 1, 0)  # moved by -radius..radius pixels
        x = x * weights[0]
        for offset in range(radius, 0, -1):
            pair = views[radius - offset] + views[radius + offset]
            pair *= weights[offset]
            x += pair
    return x


def _gaussian_blur(x: np.ndarray, sigma: float, random: np.random.Generator) -> np.ndarray:
    return _pixels(_gaussian(x / 255, sigma))


def _defocus_blur(x: np.ndarray, strength: tuple[float, float], random: np.random.Generator) -> np.ndarray:
    kernel = _disk(*strength)
    margin = len(kernel) // 2
    padded = np.pad(x / 255, ((0, 0), (margin, margin), (margin, margin), (0, 0)), mode="reflect")
    blurred = np.zeros(x.shape)
    for (row, column), weight in np.ndenumerate(kernel):
        if weight:
            blurred += weight * padded[:, row : row + x.shape[1], column : column + x.shape[2]]
    return _pixels(blurred)


def _disk(radius: float, sigma: float) -> np.ndarray:
    """A disk whose edge is smoothed by a Gaussian of 3 x 3 pixels, float32 as in the original."""
    margin = int(radius) + 1
    offsets = np.arange(-margin, margin + 1)
    disk = (offsets[:, None] ** 2 + offsets**2 <= radius**2).astype("float32")
    disk /= disk.sum()
    ratio = math.exp(-0.5 / sigma**2)
    center, outer = np.float32(1 / (1 + 2 * ratio)), np.float32(ratio / (1 + 2 * ratio))
    padded = np.pad(disk, 1)
    rows = (padded[:, :-2] + padded[:, 2:]) * outer + padded[:, 1:-1] * center
    return np.asarray((rows[:-2] + rows[2:]) * outer + rows[1:-1] * center)


def _glass_blur(x: np.ndarray, strength: tuple[float, int], random: np.random.Generator) -> np.ndarray:
    sigma, passes = strength
    x = (_gaussian(x / 255, sigma) * 255).astype(np.uint8)
    # The original means to swap each pixel with a neighbor, but assigns views of one array to each other, which only
    # copies the neighbor. It goes from the last pixel to the first, and the neighbors are at most one pixel up and to
    # the left (the upper end of randint is excluded): each is copied before it is overwritten itself, and so a pass
    # over the image is one indexing. The first two rows and columns keep their pixels.
    rows, columns = (np.arange(side)[2:] for side in x.shape[1:3])
    image = np.arange(len(x))[:, None, None]
    for generator in random.spawn(passes):
        up, left = np.moveaxis(generator.integers(0, 2, (len(x), len(rows), len(columns), 2)), -1, 0)
        x[:, 2:, 2:] = x[image, rows[:, None] - up, columns - left]
    return _pixels(_gaussian(x / 255, sigma))


def _motion_blur(x: np.ndarray, strength: tuple[float, float], random: np.random.Generator) -> np.ndarray:
    return _blur_lines(x, *strength, random.uniform(-45, 45, len(x)))


def _blur_lines(x: np.ndarray, radius: float, sigma: float, degrees: np.ndarray) -> np.ndarray:
    """Blur images (n, rows, columns, channels) along lines at angles (n,), as ImageMagick 6 does.

    The weights are half of a Gaussian: a line leads from the pixel in one direction only, in steps to whole pixels.
    Beyond the edge of the image, the pixels of the edge are repeated.
    """
    taps = np.arange(2 * math.ceil(radius) + 1)
    weights = np.exp(-(taps**2) / (2 * sigma**2))
    weights /= weights.sum()
    angles = np.deg2rad(degrees)[:, None]
    down, right = (np.ceil(taps * slope(angles) - 0.5).astype(int) for slope in (np.sin, np.cos))
    margins = [(0, 0), *((max(0, -int(by.min())), max(0, int(by.max()))) for by in (down, right))]
    padded = np.pad(x.transpose(3, 0, 1, 2), [(0, 0), *margins], mode="edge")
    views = np.lib.stride_tricks.sliding_window_view(padded, x.shape[1:3], axis=(2, 3))
    images = np.arange(len(x))
    blurred = np.zeros((x.shape[3], len(x), *x.shape[1:3]))
    for weight, rows, columns in zip(weights, down.T, right.T, strict=True):
        blurred += weight * views[:, images, margins[1][0] + rows, margins[2][0] + columns]
    # It rounds to 16 bits, where a pixel value is 257, and truncates to 8 bits when it writes the PNG file.
    return np.floor(blurred + 0.5 / 257).transpose(1, 2, 3, 0)


def _zoom_blur(x: np.ndarray, factors: tuple[float, ...], random: np.random.Generator) -> np.ndarray:
    clean = np.ascontiguousarray((x / 255).astype("float32").transpose(1, 2, 3, 0))  # rows and columns are moved whole
    total, before, zoomed = np.zeros_like(clean), None, clean
    for factor in factors:
        grids = [_zoom_grid(side, factor) for side in x.shape[1:3]]
        if before is None or any((new != old).any() for new, old in zip(grids, before, strict=True)):
            zoomed = _interpolated(clean, grids, first_axis=0)
        total += zoomed
        before = grids
    return _pixels((clean + total) / (len(factors) + 1)).transpose(3, 0, 1, 2)


def _zoom_grid(side: int, factor: float) -> np.ndarray:
    """Where the pixels of a zoomed row or column lie in the original one. The factor is met to a whole pixel only."""
    cropped = math.ceil(side / factor)
    length = round(cropped * factor)
    first = (length - side) // 2
    return (side - cropped) // 2 + np.arange(first, first + side) * ((cropped - 1) / (length - 1))


def _interpolated(x: np.ndarray, grids: list[np.ndarray], first_axis: int) -> np.ndarray:
    """Interpolate linearly between the rows, and then between the columns, at some places."""
    for axis, grid in enumerate(grids, first_axis):
        low = np.minimum(grid.astype(int), x.shape[axis] - 2)
        share = (grid - low).astype(x.dtype).reshape(-1, *[1] * (x.ndim - axis - 1))
        below = x.take(low, axis)
        x = x.take(low + 1, axis)
        x -= below
        x *= share
        x += below
    return x


# Weather.


def _snow(x: np.ndarray, strength: tuple[float, ...], random: np.random.Generator) -> np.ndarray:
    mean, deviation, zoom, threshold, radius, sigma, kept = strength
    flakes, angles = random.spawn(2)
    layer = flakes.normal(mean, deviation, x.shape[:3])
    layer = _interpolated(layer, [_zoom_grid(side, zoom) for side in x.shape[1:3]], first_axis=1)
    layer[layer < threshold] = 0
    pixels = _pixels(layer[..., None]).astype(np.uint8)
    layer = _blur_lines(pixels, radius, sigma, angles.uniform(-135, -45, len(x))) / 255
    clean = (x / 255).astype("float32")
    bleached = np.maximum(clean, _luma(clean) * np.float32(1.5) + np.float32(0.5))
    paler = np.float32(kept) * clean + np.float32(1 - kept) * bleached
    return _pixels(paler + layer + layer[:, ::-1, ::-1])


def _luma(x: np.ndarray) -> np.ndarray:
    """The brightness of colors, (..., 1) of (..., 3)."""
    red, green, blue = (x[..., channel, None] for channel in range(3))
    return np.asarray(red * np.float32(0.299) + green * np.float32(0.587) + blue * np.float32(0.114))


def _fog(x: np.ndarray, strength: tuple[float, float], random: np.random.Generator) -> np.ndarray:
    thickness, decay = strength
    clean = x / 255
    brightest = clean.max(axis=(1, 2, 3), keepdims=True)
    clean += thickness * _plasma(x.shape[:3], decay, random)[..., None]
    return _pixels(clean * brightest / (brightest + thickness))


def _plasma(shape: tuple[int, ...], decay: float, random: np.random.Generator) -> np.ndarray:
    """Fractal clouds 0..1 of a shape (n, rows, columns), by the diamond-square algorithm on a torus."""
    count, rows, columns = shape
    side = 2 ** math.ceil(math.log2(max(rows, columns)))
    clouds = np.zeros((count, side, side))
    step, roughness = side, 100.0

    def displaced(corners: np.ndarray) -> np.ndarray:
        (generator,) = random.spawn(1)
        return corners / 4 + roughness * generator.uniform(-roughness, roughness, corners.shape)

    while step >= 2:
        half = step // 2
        corners = clouds[:, ::step, ::step]
        pairs = corners + np.roll(corners, -1, axis=1)
        clouds[:, half::step, half::step] = displaced(pairs + np.roll(pairs, -1, axis=2))
        centers = clouds[:, half::step, half::step]
        vertical = centers + np.roll(centers, 1, axis=1) + corners + np.roll(corners, -1, axis=2)
        clouds[:, ::step, half::step] = displaced(vertical)
        horizontal = centers + np.roll(centers, 1, axis=2) + corners + np.roll(corners, -1, axis=1)
        clouds[:, half::step, ::step] = displaced(horizontal)
        step, roughness = half, roughness / decay
    clouds -= clouds.min(axis=(1, 2), keepdims=True)
    clouds /= clouds.max(axis=(1, 2), keepdims=True)
    return clouds[:, :rows, :columns]


# Frost is mixed in from textures that are like four photographs at a fifth of their size, in these figures: the mean
# color and the two main directions in which colors differ from it, in pixels 0..255 (as standard deviations); the share
# of fine grain in the variance and the exponent of its spectrum f^-exponent; and a measure of the skewness. The grain
# was adjusted within what fits the photographs until resnet20 and nin were as accurate as with them: on 3,000 test
# images, at severities 2, 3 and 5, the accuracies differ by about 1 percentage point at most.
_FROST = (
    ((78, 148, 165), (26, 16, 12), (-8, 5, 10), 0.27, 0.0, 0.2),
    ((198, 203, 212), (21, 22, 22), (1.5, 0, -1.5), 0.5, 0.3, -0.33),
    ((142, 157, 170), (28, 28, 29), (1.5, 1, -2.5), 0.62, 0.0, 0.05),
    ((104, 115, 127), (41, 40, 38), (1.5, 0, -1.5), 0.62, 0.9, 0.18),
)
_FROST_KINDS = np.array([0, 1, 1, 2, 3])  # of the five photographs that are used, two are the same
_FROST_SIDE = 128  # pixels; the textures continue periodically


def _frost(x: np.ndarray, strength: tuple[float, float], random: np.random.Generator) -> np.ndarray:
    kept, added = strength
    kinds, *corners = random.spawn(3)
    kind = _FROST_KINDS[kinds.integers(0, len(_FROST_KINDS), len(x))]
    rows, columns = (
        (generator.integers(0, _FROST_SIDE, len(x))[:, None] + np.arange(side)) % _FROST_SIDE
        for generator, side in zip(corners, x.shape[1:3], strict=True)
    )
    crops = _frost_textures()[kind[:, None, None], rows[:, :, None], columns[:, None, :]]
    return np.clip(kept * x + added * crops, 0, 255)


@functools.cache
def _frost_textures() -> np.ndarray:
    """Images (kinds, rows, columns, 3) that stand for photographs of frost: clouds with grain that is uneven."""
    random = np.random.default_rng(0)
    textures = []
    for mean, along, across, grain, exponent, skewness in _FROST:
        fields = []
        for _ in range(2):
            fine = _spectral_noise(random, exponent) * np.exp(0.35 * _spectral_noise(random, 2.75))
            fields.append(math.sqrt(1 - grain) * _spectral_noise(random, 2.75) + math.sqrt(grain) * fine / fine.std())
        skewed = np.expm1(skewness * fields[0]) / skewness
        skewed = (skewed - skewed.mean()) / skewed.std()
        color = np.array(mean) + np.multiply.outer(skewed, along) + np.multiply.outer(fields[1], across)
        textures.append(np.clip(color, 0, 255).astype(np.uint8))
    return np.stack(textures)


def _spectral_noise(random: np.random.Generator, exponent: float) -> np.ndarray:
    """Periodic noise with the power spectrum f^-exponent and the variance 1."""
    frequency = np.hypot(np.fft.fftfreq(_FROST_SIDE)[:, None], np.fft.rfftfreq(_FROST_SIDE))
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(random.normal(size=(_FROST_SIDE, _FROST_SIDE))) * frequency ** (-exponent / 2)
    noise = np.fft.irfft2(spectrum)
    return np.asarray(noise / noise.std())


# Colors.


def _brightness(x: np.ndarray, added: float, random: np.random.Generator) -> np.ndarray:
    hue, saturation, value = _to_hsv(x / 255)
    return _pixels(_from_hsv(hue, saturation, np.clip(value + added, 0, 1)))


def _saturate(x: np.ndarray, strength: tuple[float, float], random: np.random.Generator) -> np.ndarray:
    factor, added = strength
    hue, saturation, value = _to_hsv(x / 255)
    return _pixels(_from_hsv(hue, np.clip(saturation * factor + added, 0, 1), value))


def _to_hsv(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hue, saturation and value, 0..1, of colors (..., 3)."""
    red, green, blue = np.moveaxis(x, -1, 0)
    value = x.max(axis=-1)
    chroma = value - x.min(axis=-1)
    gray = chroma == 0
    divisor = np.where(gray, 1, chroma)
    hue = np.where(red == value, (green - blue) / divisor, 0)
    hue = np.where(green == value, 2 + (blue - red) / divisor, hue)  # a later one wins if two channels are equal
    hue = np.where(blue == value, 4 + (red - green) / divisor, hue)
    return np.where(gray, 0, hue / 6 % 1), np.where(gray, 0, chroma / np.where(gray, 1, value)), value


# By how much of its saturation each channel falls below the value of the color, in each sixth of the circle of hues: a
# constant, and the factor of the position within that sixth.
_BELOW = np.array([[0, 1, 1], [0, 0, 1], [1, 0, 1], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
_BELOW_SLOPE = np.array([[0, -1, 0], [1, 0, 0], [0, 0, -1], [0, 1, 0], [-1, 0, 0], [0, 0, 1]])


def _from_hsv(hue: np.ndarray, saturation: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Colors (..., 3) of hue, saturation and value, 0..1."""
    sixth = np.floor(hue * 6)
    position = hue * 6 - sixth
    sixth = sixth.astype(int) % 6
    below = _BELOW[sixth] + _BELOW_SLOPE[sixth] * position[..., None]
    return np.asarray(value[..., None] * (1 - below * saturation[..., None]))


def _contrast(x: np.ndarray, factor: float, random: np.random.Generator) -> np.ndarray:
    clean = x / 255
    means = clean.mean(axis=(1, 2), keepdims=True)
    return _pixels((clean - means) * factor + means)


# Geometry and compression.


def _elastic_transform(x: np.ndarray, strength: tuple[float, float, float], random: np.random.Generator) -> np.ndarray:
    distance, sigma, jitter = strength
    count, rows, columns, _ = x.shape
    corners, *fields = random.spawn(3)
    moved = _warped((x / 255).astype("float32"), corners.uniform(-jitter, jitter, (count, 3, 2)).astype("float32"))
    right, down = (
        (_gaussian(field.uniform(-1, 1, x.shape[:3]), sigma, "symmetric", 3.0) * distance).astype("float32")
        for field in fields
    )
    down, right = np.arange(rows)[:, None] + down.astype(float), np.arange(columns) + right.astype(float)
    top, left = np.floor(down), np.floor(right)
    shares = [(1 - (down - top), down - top), (1 - (right - left), right - left)]
    ends = [
        [_mirrored(first.astype(int) + step, side, edge=1) for step in (0, 1)]
        for first, side in ((top, rows), (left, columns))
    ]
    return _pixels(_mixed(moved, ends, shares).astype("float32"))


def _warped(x: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Apply the affine maps that move three corners of a square by offsets (n, 3, 2), as OpenCV does for float32.

    The map is inverted, and the places in the image are rounded to 1/32 pixel.
    """
    _, rows, columns, _ = x.shape
    size = min(rows, columns) // 3
    center = np.array([rows // 2, columns // 2])
    square = np.array([center + size, [center[0] + size, center[1] - size], center - size], "float32")
    targets = (square + offsets).astype(float)
    along = [(targets[:, 1] - targets[:, 2]) / (2 * size), (targets[:, 0] - targets[:, 1]) / (2 * size)]
    shift = targets[:, 2] - along[0] * square[2, 0] - along[1] * square[2, 1]
    (a, d), (b, e) = along[0].T, along[1].T  # the map is x, y -> a x + b y + shift, d x + e y + shift
    determinant = a * e - b * d
    a, b, d, e = e / determinant, -b / determinant, -d / determinant, a / determinant
    starts = -(a * shift[:, 0] + b * shift[:, 1]), -(d * shift[:, 0] + e * shift[:, 1])
    ends, shares = [], []
    for by_row, by_column, start, side in ((e, d, starts[1], rows), (b, a, starts[0], columns)):
        place = np.rint((by_row[:, None] * np.arange(rows) + start[:, None]) * 1024).astype(int)[:, :, None] + 16
        place = (place + np.rint(by_column[:, None] * np.arange(columns) * 1024).astype(int)[:, None, :]) >> 5
        share = ((place & 31) / 32).astype("float32")
        ends.append([_mirrored((place >> 5) + step, side, edge=0) for step in (0, 1)])
        shares.append((1 - share, share))
    return _mixed(x, ends, shares)


def _mirrored(index: np.ndarray, side: int, edge: int) -> np.ndarray:
    """Indices of any size as those of pixels, by reflection; `edge` is 1 where that repeats the pixel at the edge."""
    index = index % (2 * (side - 1 + edge))
    return np.where(index < side, index, 2 * (side - 1) + edge - index)


def _mixed(x: np.ndarray, ends: list[list[np.ndarray]], shares: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Interpolate images between two rows and two columns for each pixel (n, rows, columns)."""
    pixels = x.reshape(-1, x.shape[3])
    images = np.arange(len(x))[:, None, None] * x.shape[1]
    mixed = np.zeros(1, x.dtype)
    for row, down in zip(ends[0], shares[0], strict=True):
        for column, right in zip(ends[1], shares[1], strict=True):
            mixed = mixed + pixels.take((images + row) * x.shape[2] + column, axis=0) * (down * right)[..., None]
    return mixed


def _pixelate(x: np.ndarray, factor: float, random: np.random.Generator) -> np.ndarray:
    rows, columns = x.shape[1:3]
    small = (int(columns * factor), int(rows * factor))
    box = Image.Resampling.BOX
    return np.stack([np.asarray(Image.fromarray(image).resize(small, box).resize((columns, rows), box)) for image in x])


def _jpeg_compression(x: np.ndarray, quality: int, random: np.random.Generator) -> np.ndarray:
    def decoded(image: np.ndarray) -> np.ndarray:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=quality)
        return np.asarray(Image.open(file))

    return np.stack([decoded(image) for image in x])


# Spatter: drops of water, in the first three severities, or of mud.


def _spatter(x: np.ndarray, strength: tuple[float, ...], random: np.random.Generator) -> np.ndarray:
    mean, deviation, sigma, threshold, amount, is_mud = strength
    clean = (x / 255).astype("float32")
    liquid = _gaussian(random.normal(mean, deviation, x.shape[:3]), sigma)
    liquid[liquid < threshold] = 0
    if is_mud:
        cover = _gaussian((liquid > threshold).astype("float32"), amount).astype("float32")[..., None]
        cover[cover < 0.8] = 0
        return _pixels(clean * (1 - cover) + np.array([63, 42, 20], "float32") / 255 * cover)
    layer = (liquid * 255).astype(np.uint8)
    drops = layer * _relief(_edges(layer)).astype("float32")
    # An image without drops stays as it is. The original divides zero by zero and makes it black, which happens to
    # none of 100,000 images of 32 x 32 pixels.
    drops = drops / np.maximum(drops.max(axis=(1, 2), keepdims=True), 1) * np.float32(amount)
    color = np.array([175, 238, 238], "float32") / 255
    return _pixels(clean + drops[..., None] * color)


def _around(x: np.ndarray, mode: Any) -> Callable[[int, int], np.ndarray]:
    """A function of (down, right), -1..1, that gives that neighbor of every pixel of images (n, rows, columns)."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)), mode=mode)
    rows, columns = x.shape[1:]
    return lambda down, right: padded[:, 1 + down : 1 + down + rows, 1 + right : 1 + right + columns]


def _edges(layer: np.ndarray) -> np.ndarray:
    """The edges that the Canny detector finds in uint8 images (n, rows, columns) with the thresholds 50 and 150."""
    at = _around(layer.astype(int), "edge")
    right = sum(weight * (at(row, 1) - at(row, -1)) for row, weight in ((-1, 1), (0, 2), (1, 1)))
    down = sum(weight * (at(1, column) - at(-1, column)) for column, weight in ((-1, 1), (0, 2), (1, 1)))
    size = abs(right) + abs(down)
    # A pixel is kept if it is the largest across the edge, whose direction is rounded to a multiple of 45 degrees.
    at = _around(size, "constant")
    slope, tangent = abs(down) << 15, abs(right) * round(math.tan(math.pi / 8) * 2**15)
    falling = (right ^ down) < 0
    across = np.where(falling, (size > at(-1, 1)) & (size > at(1, -1)), (size > at(-1, -1)) & (size > at(1, 1)))
    across = np.where(slope > tangent + (abs(right) << 16), (size > at(-1, 0)) & (size >= at(1, 0)), across)
    across = np.where(slope < tangent, (size > at(0, -1)) & (size >= at(0, 1)), across)
    candidates = across & (size > 50)
    edges, before = candidates & (size > 150), 0
    while before != (before := int(edges.sum())):  # the weak ones that are connected to a strong one
        at = _around(edges, "constant")
        edges = candidates & np.logical_or.reduce([at(row, column) for row in (-1, 0, 1) for column in (-1, 0, 1)])
    return edges


def _relief(edges: np.ndarray) -> np.ndarray:
    """What makes drops look solid: a lit relief of the distance to their edges, 0..255."""
    distance = _box(np.minimum(_distance(edges), 20)) / 9
    at = _around(_equalized(distance.astype(np.uint8)), "reflect")
    lit = sum(
        weight * at(row, column)
        for row, column, weight in (
            (-1, -1, -2), (-1, 0, -1), (0, -1, -1), (0, 0, 1), (0, 1, 1), (1, 0, 1), (1, 1, 2),
        )
    )  # fmt: skip
    return np.rint(_box(np.clip(lit, 0, 255)) / 9)


def _box(x: np.ndarray) -> np.ndarray:
    """The sums over 3 x 3 pixels."""
    at = _around(x, "reflect")
    rows = _around(at(-1, 0) + at(0, 0) + at(1, 0), "reflect")
    return rows(0, -1) + rows(0, 0) + rows(0, 1)


# The costs of steps to a neighbor, to a diagonal one, and of a knight's move, in 1/65536 pixel (Borgefors 1986).
_STEP, _DIAGONAL, _KNIGHT = (round(cost * 65536) for cost in (1, 1.4, 2.1969))


def _distance(edges: np.ndarray) -> np.ndarray:
    """The distances of all pixels to the nearest edge, by the two passes of a 5 x 5 chamfer."""
    far = 2**40
    count, rows, columns = edges.shape
    distance = np.full((rows + 4, count, columns + 4), far)
    distance[2:-2, :, 2:-2] = np.where(edges.swapaxes(0, 1), 0, far)
    ramp = _STEP * np.arange(columns)
    for _ in range(2):  # from the top left, and from the bottom right, as the views are turned around in between
        for row in range(2, rows + 2):
            best = distance[row, :, 2:-2]
            for up, right, cost in (
                (2, -1, _KNIGHT), (2, 1, _KNIGHT), (1, -2, _KNIGHT), (1, 2, _KNIGHT),
                (1, -1, _DIAGONAL), (1, 1, _DIAGONAL), (1, 0, _STEP),
            ):  # fmt: skip
                np.minimum(best, distance[row - up, :, 2 + right : 2 + right + columns] + cost, out=best)
            best[:] = np.minimum.accumulate(best - ramp, axis=-1) + ramp  # steps from the left
        distance = distance[::-1, :, ::-1]
    return distance[2:-2, :, 2:-2].swapaxes(0, 1) / 65536


def _equalized(x: np.ndarray) -> np.ndarray:
    """Spread the values of uint8 images (n, rows, columns) so that their histograms become flat."""
    count, pixels = len(x), x[0].size
    offsets = np.arange(count)[:, None, None] * 256
    histograms = np.bincount((offsets + x).ravel(), minlength=count * 256).reshape(count, 256)
    sums = histograms.cumsum(axis=1)
    first = np.take_along_axis(histograms, (histograms > 0).argmax(axis=1)[:, None], axis=1)
    scale = np.float32(255) / np.maximum(pixels - first, 1).astype("float32")
    table = np.where(first == pixels, np.arange(256), np.rint((sums - first).astype("float32") * scale)).astype(int)
    return table.ravel()[offsets + x]


_STRENGTHS: dict[str, tuple[Corruption, tuple[Any, ...]]] = {
    "gaussian_noise": (_gaussian_noise, (0.04, 0.06, 0.08, 0.09, 0.10)),
    "shot_noise": (_shot_noise, (500, 250, 100, 75, 50)),
    "impulse_noise": (_impulse_noise, (0.01, 0.02, 0.03, 0.05, 0.07)),
    "defocus_blur": (_defocus_blur, ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1))),
    "glass_blur": (_glass_blur, ((0.05, 1), (0.25, 1), (0.4, 1), (0.25, 2), (0.4, 2))),
    "motion_blur": (_motion_blur, ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5))),
    "zoom_blur": (_zoom_blur, tuple(tuple(np.arange(1, end, 0.01)) for end in (1.06, 1.11, 1.16, 1.21, 1.26))),
    "snow": (
        _snow,
        (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ),
    ),
    "frost": (_frost, ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45))),
    "fog": (_fog, ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75))),
    "brightness": (_brightness, (0.05, 0.1, 0.15, 0.2, 0.3)),
    "contrast": (_contrast, (0.75, 0.5, 0.4, 0.3, 0.15)),
    "elastic_transform": (
        _elastic_transform,
        ((0, 0, 2.56), (1.6, 6.4, 2.24), (2.56, 1.92, 1.92), (3.2, 1.28, 1.6), (3.2, 0.96, 0.96)),
    ),
    "pixelate": (_pixelate, (0.95, 0.9, 0.85, 0.75, 0.65)),
    "jpeg_compression": (_jpeg_compression, (80, 65, 58, 50, 40)),
    "speckle_noise": (_speckle_noise, (0.06, 0.1, 0.12, 0.16, 0.2)),
    "gaussian_blur": (_gaussian_blur, (0.4, 0.6, 0.7, 0.8, 1)),
    "spatter": (
        _spatter,
        (
            (0.62, 0.1, 0.7, 0.7, 0.5, False),
            (0.65, 0.1, 0.8, 0.7, 0.5, False),
            (0.65, 0.3, 1, 0.69, 0.5, False),
            (0.65, 0.1, 0.7, 0.69, 0.6, True),
            (0.65, 0.1, 0.5, 0.68, 0.6, True),
        ),
    ),
    "saturate": (_saturate, ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2))),
}
