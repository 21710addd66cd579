"""A folder of images with one subfolder a class."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cifar_zoo.data.images import read_image
from cifar_zoo.errors import CifarZooError


def load_folder(path: str | Path) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Load images from a folder with one subfolder a class, as `keras.utils.image_dataset_from_directory` expects it.

    The names of the subfolders are the names of the classes. Images may have any size, mode and format that Pillow
    opens; they are cropped to their central square and resized to 32x32. Hidden files and folders are ignored, and so
    are files beside the subfolders. A subfolder must contain images only.

    Args:
        path: Path of the folder.

    Returns:
        A tuple `(images, labels, class_names)`: uint8 (n, 32, 32, 3), ordered by class and file name; int64 (n,),
        indices into `class_names`; and the sorted names.

    Raises:
        CifarZooError: If there is no such folder, it has no classes, a class has no images, or a file in a class cannot
            be read as an image.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise CifarZooError(f"there is no folder {str(path)!r}")
    classes = [child for child in _visible(folder) if child.is_dir()]
    if not classes:
        raise CifarZooError(f"{str(path)!r} has no subfolders; it needs one with images for each class")
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
