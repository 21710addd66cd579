"""A folder of one's own images, one sub-folder a class."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cifar_zoo.data.images import read_image
from cifar_zoo.errors import CifarZooError


def load_folder(path: str | Path) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Read a folder with one sub-folder a class, as `read_image` reads: any size, mode and format.

    The sub-folders' names are those of the classes. Hidden files and folders are passed over, and so are files beside
    the sub-folders. Sub-folders hold images and nothing else.

    Returns:
        images: uint8 (n, 32, 32, 3), class by class, by file name within each.
        labels: int64 (n,), indices into class_names.
        class_names: sorted.

    Raises:
        CifarZooError: if there is no such folder, no class or one without images, or something in a class that cannot
            be read as an image.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise CifarZooError(f"there is no folder {str(path)!r}")
    classes = [child for child in _visible(folder) if child.is_dir()]
    if not classes:
        raise CifarZooError(f"{str(path)!r} has no sub-folders; it needs one with images for each class")
    files = [_visible(child) for child in classes]
    for child, inside in zip(classes, files, strict=True):
        if not inside:
            raise CifarZooError(f"the class {str(child)!r} has no images")
        for file in inside:
            if file.is_dir():
                raise CifarZooError(f"{str(file)!r} is a folder where an image of the class {child.name!r} should be")
    images = np.stack([read_image(file) for inside in files for file in inside])
    labels = np.repeat(np.arange(len(classes)), [len(inside) for inside in files])
    return images, labels, [child.name for child in classes]


def _visible(folder: Path) -> list[Path]:
    return sorted(child for child in folder.iterdir() if not child.name.startswith("."))
