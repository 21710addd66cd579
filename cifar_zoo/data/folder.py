"""A folder of images with one subfolder a class."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from cifar_zoo.data.images import read_image
from cifar_zoo.errors import CifarZooError
from cifar_zoo.files import named_path

_log = logging.getLogger(__name__)
# By Windows, macOS and network storage; other names of theirs start with a dot.
LEFT_BEHIND = ("Thumbs.db", "ehthumbs.db", "desktop.ini", "__MACOSX", "Icon\r", "@eaDir", "$RECYCLE.BIN")


def load_folder(path: str | Path) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Load images from a folder with one subfolder a class, as `keras.utils.image_dataset_from_directory` expects it.

    The names of the subfolders are the names of the classes. Images are read by `read_image`: cropped to their central
    square and resized to 32x32. Files beside the subfolders are ignored, and so are hidden files and folders and those
    that systems leave behind, such as Thumbs.db; a warning counts them. A subfolder must contain images only.

    Args:
        path: Path of the folder.

    Returns:
        A tuple `(images, labels, class_names)`: uint8 (n, 32, 32, 3), ordered by class and file name; int64 (n,),
        indices into `class_names`; and the sorted names.

    Raises:
        CifarZooError: If there is no such folder, it has no classes, a class has no images, or a file in a class cannot
            be read as an image.
    """
    folder = named_path(path)
    if not folder.is_dir():
        raise CifarZooError(f"there is no folder {str(path)!r}")
    ignored: list[Path] = []
    classes = [child for child in _children(folder, ignored) if child.is_dir()]
    if not classes:
        raise CifarZooError(f"{str(path)!r} has no subfolders; it needs one with images for each class")
    files = [_children(child, ignored) for child in classes]
    for child, inside in zip(classes, files, strict=True):
        if not inside:
            raise CifarZooError(f"the class {str(child)!r} has no images")
        for file in inside:
            if file.is_dir():
                raise CifarZooError(f"{str(file)!r} is a folder where an image of the class {child.name!r} should be")
    if ignored:
        names = ", ".join(sorted({child.name for child in ignored})[:5])
        _log.warning("%s: %d hidden and system files and folders are ignored, such as %s", folder, len(ignored), names)
    images = np.stack([read_image(file) for inside in files for file in inside])
    labels = np.repeat(np.arange(len(classes)), [len(inside) for inside in files])
    return images, labels, [child.name for child in classes]


def _children(folder: Path, ignored: list[Path]) -> list[Path]:
    """Return what is in a folder, sorted; what systems leave behind is added to `ignored` instead."""
    try:
        children = sorted(folder.iterdir())
    except OSError as error:
        raise CifarZooError(f"{str(folder)!r} cannot be read ({error.strerror})") from None
    left_behind = [child for child in children if child.name.startswith(".") or child.name in LEFT_BEHIND]
    ignored += left_behind
    return [child for child in children if child not in left_behind]
