"""Pictures of any kind, made into what a network takes."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cifar_zoo.errors import CifarZooError

if TYPE_CHECKING:
    from PIL import Image

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SIDE = 32


def centre_crop(pictures: np.ndarray, height: int | None, width: int | None) -> np.ndarray:
    """The middle of pictures (n, rows, columns, channels); None keeps a side. Raises CifarZooError for smaller ones."""
    rows, columns = pictures.shape[1:3]
    height, width = height or rows, width or columns
    if rows < height or columns < width:
        raise CifarZooError(f"the network takes {height}x{width} pictures, and these have only {rows}x{columns} pixels")
    top, left = (rows - height) // 2, (columns - width) // 2
    return pictures[:, top : top + height, left : left + width]


def read_picture(path: str | Path) -> np.ndarray:
    """Read a picture file as CIFAR-10 has its pictures: 32x32 RGB, uint8 (32, 32, 3).

    Any mode and format that Pillow opens, and any size up to its limit of 179 million pixels. The picture is turned
    upright after its EXIF entry, transparent parts become white, the middle square is cut out and scaled down with an
    antialiasing filter. Grey of 16 bits is scaled to 8, floats up to 1 are taken as shares of white.

    Raises:
        CifarZooError: if the file is absent or is no picture.
    """
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as file:
                picture = _eight_bits(ImageOps.exif_transpose(file))
        if picture.has_transparency_data:
            picture = picture.convert("RGBA")
            picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
        picture = ImageOps.fit(picture.convert("RGB"), (SIDE, SIDE), Image.Resampling.LANCZOS)
    except FileNotFoundError as error:
        raise CifarZooError(f"there is no picture {str(path)!r}") from error
    except Exception as error:  # the decoders of damaged files raise nearly anything
        raise CifarZooError(f"{str(path)!r} cannot be read as a picture: {error}") from error
    return np.asarray(picture)


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Grey of 16 or 32 bits or of floats as grey of 8 bits; Pillow would clip it. Other modes as they are."""
    from PIL import Image

    if not (picture.mode.startswith("I") or picture.mode == "F"):
        return picture
    values = np.asarray(picture, dtype="float64")
    if picture.mode.startswith("I;16") or (picture.mode == "I" and values.max() > 255):
        values = values / 257
    elif picture.mode == "F" and values.max() <= 1:
        values = values * 255
    return Image.fromarray(np.clip(values, 0, 255).astype("uint8"))
