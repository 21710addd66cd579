"""Image files of any kind as the arrays that a network takes."""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cifar_zoo.checks import integer
from cifar_zoo.errors import CifarZooError, shown
from cifar_zoo.files import read_file

if TYPE_CHECKING:
    from PIL import Image

SIDE = 32
# Formats of images that Pillow decodes itself. Of the others, EPS would start Ghostscript.
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "QOI", "TGA", "TIFF", "WEBP")
LARGEST_SIDE = 4096  # pixels, of resized images
MOST_PIXELS = 50_000_000  # as much as cameras have; decoding them takes up to 1 GB
_LARGEST_FILE = 200_000_000  # bytes; so many pixels without compression have 150 million
_PNG = b"\x89PNG\r\n\x1a\n"


def center_crop(images: np.ndarray, height: int | None, width: int | None) -> np.ndarray:
    """Crop images to their center.

    Args:
        images: Array (n, rows, columns, channels).
        height: Integer or None. Rows of the result; None keeps those of the images.
        width: Integer or None, likewise.

    Returns: a view (n, height, width, channels).

    Raises:
        CifarZooError: If the images are smaller.
    """
    rows, columns = images.shape[1:3]
    height, width = height or rows, width or columns
    if rows < height or columns < width:
        raise CifarZooError(f"the network takes {height}x{width} images, and these have only {rows}x{columns} pixels")
    top, left = (rows - height) // 2, (columns - width) // 2
    return images[:, top : top + height, left : left + width]


def check_image_size(value: Any) -> int:
    """Check an argument `image_size` and return it as a Python integer.

    Raises:
        CifarZooError: If it is not an integer from 1 to `LARGEST_SIDE`.
    """
    side = integer("image_size", value)
    if side > LARGEST_SIDE:
        raise CifarZooError(f"image_size must be at most {LARGEST_SIDE}, not {shown(side)}")
    return side


def side_for(input_shape: Sequence[int | None]) -> int:
    """The side of the squares that images are resized to for a network that takes (height, width, channels).

    It is that of CIFAR-10's images, or of a network that takes larger ones. One that takes smaller ones crops them.
    """
    return max(SIDE, *(side or 0 for side in input_shape[:2]))


def resized(images: np.ndarray, side: int = SIDE) -> np.ndarray:
    """Bring images of any size to the format of CIFAR-10, as `read_image` does with files.

    Args:
        images: Array of whole numbers 0..255 of any dtype and of shape (n, rows, columns), or (n, rows, columns,
            channels) with 1, 3 or 4 channels: gray, RGB or RGBA.
        side: Height and width of the results in pixels.

    Returns: uint8 (n, side, side, 3).

    Raises:
        CifarZooError: If they are anything else.
    """
    from PIL import Image

    if images.ndim == 4 and images.shape[3] == 1:
        images = images[..., 0]
    if images.ndim not in (3, 4) or images.shape[3:] not in ((), (3,), (4,)) or not images.size:
        raise CifarZooError(f"images must be (n, rows, columns) with 1, 3 or 4 channels or none, not {images.shape}")
    if images.dtype != np.uint8:
        whole = images.astype("uint8") if images.dtype.kind in "iuf" and _within(images, 0, 255) else None
        if whole is None or (whole != images).any():
            raise CifarZooError(f"images must be whole numbers 0..255, not {_range_of(images)}")
        images = whole
    if images.shape[1:] == (side, side, 3):
        return images
    return np.stack([from_pillow(Image.fromarray(image), side) for image in images])


def _within(values: np.ndarray, least: float, most: float) -> bool:
    return bool(least <= values.min() and values.max() <= most)  # false for NaN


def _range_of(values: np.ndarray) -> str:
    """The dtype of an array and, if it has numbers, the smallest and the largest one."""
    return f"{values.dtype} {values.min():g}..{values.max():g}" if values.dtype.kind in "iuf" else str(values.dtype)


def read_image(path: str | os.PathLike[str], side: int = SIDE) -> np.ndarray:
    """Read an image file in the format of CIFAR-10, or as a larger or smaller square.

    The image is rotated according to its EXIF orientation, its central square is resized with an antialiasing filter,
    and transparent parts become white. Grayscale integers of 16 and 32 bits are taken as 0..65535, floats as 0..1.

    Args:
        path: Path of an image of any mode in one of `FORMATS`, of at most `MOST_PIXELS` and 200 MB.
        side: Height and width of the result in pixels.

    Returns: the pixels 0..255, RGB, uint8 (side, side, 3).

    Raises:
        CifarZooError: If the file does not exist, is not such an image, or has values outside its range.
    """
    from PIL import Image

    content = _without_metadata(read_file(path, _LARGEST_FILE))
    Image.init()
    formats = [name for name in FORMATS if name in Image.OPEN]  # a build of Pillow may lack some
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damaged metadata, and of a size that is checked here
            with Image.open(io.BytesIO(content), formats=formats) as image:
                del content
                return from_pillow(image, side)
    except Image.UnidentifiedImageError:
        raise CifarZooError(f"{str(path)!r} cannot be read as an image: it is none of {', '.join(FORMATS)}") from None
    except Exception as error:  # the decoders of damaged files raise nearly anything
        raise CifarZooError(f"{str(path)!r} cannot be read as an image: {error}") from error


def from_pillow(image: Image.Image, side: int = SIDE) -> np.ndarray:
    """Convert an image of Pillow to the format of CIFAR-10, as `read_image` does.

    Args:
        image: Pillow image of any mode.
        side: Height and width of the result in pixels.

    Returns: the pixels 0..255, RGB, uint8 (side, side, 3).

    Raises:
        CifarZooError: If it has more than `MOST_PIXELS`, or values outside its range.
    """
    from PIL import Image, ImageOps

    if image.width * image.height > MOST_PIXELS:
        raise CifarZooError(f"{image.width}x{image.height} pixels are more than {MOST_PIXELS / 1e6:.0f} million")
    image.load()
    with contextlib.suppress(Exception):  # damaged EXIF data; the pixels are good
        image = ImageOps.exif_transpose(image)
    image = _eight_bits(image)
    image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    image = ImageOps.fit(image, (side, side), Image.Resampling.LANCZOS)
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return np.asarray(image)


def _without_metadata(content: bytes) -> bytes:
    """Remove the text and the color profile of a PNG file. Pillow refuses images in which they are damaged or long."""
    if not content.startswith(_PNG):
        return content
    chunks, start = [_PNG], len(_PNG)
    while start < len(content):
        end = start + 12 + int.from_bytes(content[start : start + 4])
        if content[start + 4 : start + 8] not in (b"tEXt", b"zTXt", b"iTXt", b"iCCP"):
            chunks.append(content[start:end])
        start = end
    return b"".join(chunks)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grayscale of 16 or 32 bits or floats as 8 bits, which Pillow would clip; other modes unchanged."""
    from PIL import Image

    if not (image.mode.startswith("I") or image.mode == "F"):
        return image
    white = 1.0 if image.mode == "F" else 65_535.0
    values = np.array(image, dtype="float32")
    darkest, brightest = values.min(), values.max()  # NaN if any value is
    if not 0 <= darkest <= brightest <= white:
        raise CifarZooError(
            f"its values are from {darkest:g} to {brightest:g}; those of an image of "
            f"{'floats' if image.mode == 'F' else 'integers of 16 or 32 bits'} are from 0 to {white:g}"
        )
    values *= 255 / white
    return Image.fromarray(values.astype("uint8"))


def golden_images(height: int, width: int) -> np.ndarray:
    """Return four fixed uint8 images of shape (4, height, width, 3): a gradient, stripes, a disc and noise."""
    row, column = np.mgrid[0:height, 0:width].astype("float64")
    gradient = np.stack([255 * row / (height - 1), 255 * column / (width - 1), 0 * row + 128], axis=-1)
    stripes = np.repeat((255 * ((row + column) % 6 < 3))[..., None], 3, axis=-1) * np.array([1.0, 0.6, 0.2])
    inside = (row - height / 2) ** 2 + (column - width / 2) ** 2 < (height / 3) ** 2
    disc = np.where(inside[..., None], [200.0, 60.0, 40.0], [90.0, 150.0, 230.0])
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3))
    return np.stack([gradient, stripes, disc, noise]).round().astype("uint8")
