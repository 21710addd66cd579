"""Image files of any kind as the arrays that a network takes."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cifar_zoo.errors import CifarZooError

if TYPE_CHECKING:
    from PIL import Image

SIDE = 32


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


def read_image(path: str | Path) -> np.ndarray:
    """Read an image file in the format of CIFAR-10.

    The image may have any mode and format that Pillow opens, and any size up to Pillow's limit of 179 million pixels.
    It is rotated according to its EXIF orientation, transparent parts become white, and its central square is resized
    with an antialiasing filter. Grayscale of 16 bits is scaled to 8; floats up to 1 are taken as fractions of white.

    Args:
        path: Path of the file.

    Returns: the pixels 0..255, RGB, uint8 (32, 32, 3).

    Raises:
        CifarZooError: If the file does not exist or is not an image.
    """
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as file:
                image = _eight_bits(ImageOps.exif_transpose(file))
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        image = ImageOps.fit(image.convert("RGB"), (SIDE, SIDE), Image.Resampling.LANCZOS)
    except FileNotFoundError as error:
        raise CifarZooError(f"there is no image {str(path)!r}") from error
    except Exception as error:  # the decoders of damaged files raise nearly anything
        raise CifarZooError(f"{str(path)!r} cannot be read as an image: {error}") from error
    return np.asarray(image)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grayscale of 16 or 32 bits or floats as 8 bits, which Pillow would clip; other modes unchanged."""
    from PIL import Image

    if not (image.mode.startswith("I") or image.mode == "F"):
        return image
    values = np.asarray(image, dtype="float64")
    if image.mode.startswith("I;16") or (image.mode == "I" and values.max() > 255):
        values = values / 257
    elif image.mode == "F" and values.max() <= 1:
        values = values * 255
    return Image.fromarray(np.clip(values, 0, 255).astype("uint8"))
