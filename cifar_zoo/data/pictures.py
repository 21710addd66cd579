"""Pictures of any kind, made into what a network takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cifar_zoo.errors import CifarZooError

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

    Any size, mode and format that Pillow opens. The picture is turned upright after its EXIF entry, transparent parts
    become white, the middle square is cut out and scaled down with an antialiasing filter.

    Raises:
        CifarZooError: if the file is absent or is no picture.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as file:
            picture = ImageOps.exif_transpose(file)
            if picture.mode.startswith("I") or picture.mode == "F":  # 16 or 32 bits of grey: Pillow would clip them
                values = np.asarray(picture, dtype="float64")
                low, high = values.min(), values.max()
                top = 65535.0 if picture.mode != "F" and 255 < high <= 65535 and low >= 0 else max(high, 1e-9)
                values = values if low >= 0 and high <= 255 and picture.mode != "F" else values / top * 255
                picture = Image.fromarray(np.clip(values, 0, 255).astype("uint8"))
            if picture.has_transparency_data:
                picture = picture.convert("RGBA")
                picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
            picture = ImageOps.fit(picture.convert("RGB"), (SIDE, SIDE), Image.Resampling.LANCZOS)
    except FileNotFoundError as error:
        raise CifarZooError(f"there is no picture {str(path)!r}") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise CifarZooError(f"{str(path)!r} cannot be read as a picture: {error}") from error
    return np.asarray(picture)
