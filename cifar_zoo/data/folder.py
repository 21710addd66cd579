"""A folder of images with one subfolder a class."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from cifar_zoo.data.images import SIDE, check_image_size, read_image
from cifar_zoo.errors import CifarZooError, escaped
from cifar_zoo.files import named_path

_log = logging.getLogger(__name__)
# By Windows, macOS and network storage; other names of theirs start with a dot.
LEFT_BEHIND = ("Thumbs.db", "ehthumbs.db", "desktop.ini", "__MACOSX", "Icon\r", "@eaDir", "$RECYCLE.BIN")
# How the parts of a data set are called. A folder of them is not a folder of classes.
PARTS = {"train", "training", "val", "valid", "validation", "dev", "test", "testing"}
_DEEPEST = 32  # folders in one another
_Identity = tuple[int, int]


def load_folder(path: str | Path, image_size: int = SIDE) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Load images from a folder with one subfolder a class, as `keras.utils.image_dataset_from_directory` expects it.

    The names of the subfolders are the names of the classes. The images of a class may be in folders inside of its
    own. They are read by `read_image`, whatever the endings of their names: cropped to their central square and
    resized.

    - Files in a class that cannot be read as images are left out, and one warning names them.
    - Hidden files and folders are ignored, and so are those that systems leave behind, such as Thumbs.db; a warning
      counts them. Files beside the subfolders are ignored as well.
    - Links to files and folders are followed. A folder that is reached twice counts once, and a folder that is inside
      of itself is refused.

    Args:
        path: Path of the folder.
        image_size: Integer. Height and width of the resized images in pixels.

    Returns:
        A tuple `(images, labels, class_names)`: uint8 (n, image_size, image_size, 3), ordered by class and file name;
        int64 (n,), indices into `class_names`; and the sorted names.

    Raises:
        CifarZooError: If there is no such folder, it has fewer than two classes, its subfolders are called like the
            parts of a data set ("train", "test"), a class has no image that can be read, or folders are inside of
            themselves or more than 32 deep.
    """
    side = check_image_size(image_size)
    folder = named_path(path)
    if not folder.is_dir():
        raise CifarZooError(f"there is no folder {str(path)!r}")
    ignored: list[Path] = []
    children = _children(folder, ignored)
    classes = [child for child in children if _is_folder(child)]
    _check_classes(folder, classes)
    if lost := [child for child in children if child.is_symlink() and not child.exists()]:
        raise CifarZooError(f"{str(lost[0])!r} is a link to nothing, where a class may have been; remove or mend it")
    files = [list(_files(child, [_identity(folder)], set(), ignored)) for child in classes]
    for child, inside in zip(classes, files, strict=True):
        if not inside:
            raise CifarZooError(f"the class {str(child)!r} has no images; add some, or remove it")
    if ignored:
        names = ", ".join(escaped(name) for name in sorted({child.name for child in ignored})[:5])
        _log.warning("%s: %d hidden and system files and folders are ignored, such as %s", folder, len(ignored), names)

    images = np.empty((sum(map(len, files)), side, side, 3), "uint8")
    labels: list[int] = []
    unreadable: list[Path] = []
    for number, (child, inside) in enumerate(zip(classes, files, strict=True)):
        reason = ""
        for file in inside:
            try:
                images[len(labels)] = read_image(file, side)
                labels.append(number)
            except CifarZooError as error:
                unreadable.append(file)
                reason = reason or str(error)
        if not labels or labels[-1] != number:
            raise CifarZooError(f"{reason}; the class {child.name!r} has no other image: add some, or remove it")
    if unreadable:
        names = ", ".join(escaped(file.relative_to(folder)) for file in unreadable[:20])
        more = f" and {len(unreadable) - 20} more" if len(unreadable) > 20 else ""
        _log.warning(
            "%s: %d files cannot be read as images and are left out: %s%s", folder, len(unreadable), names, more
        )
    return images[: len(labels)], np.array(labels, "int64"), [child.name for child in classes]


def image_files(folder: Path) -> list[Path]:
    """Return the files in a folder and in those inside of it, sorted, as `load_folder` finds those of a class.

    Raises:
        CifarZooError: If a folder cannot be read, is inside of itself, or is more than 32 deep.
    """
    return list(_files(folder, [], set(), []))


def _check_classes(folder: Path, classes: list[Path]) -> None:
    """Raise CifarZooError for subfolders that cannot be classes."""
    if not classes:
        raise CifarZooError(f"{str(folder)!r} has no subfolders; it needs one with images for each class")
    names = [child.name for child in classes]
    if {name.lower() for name in names} <= PARTS:
        raise CifarZooError(
            f"the subfolders of {str(folder)!r} are the parts of a data set, {', '.join(names)}, and not classes; "
            f"give one of them, such as {str(classes[0])!r}"
        )
    if len(classes) == 1:
        raise CifarZooError(
            f"{str(folder)!r} has only one class, {names[0]!r}; it needs a subfolder with images for each of two "
            "classes or more"
        )


def _files(folder: Path, above: list[_Identity], seen: set[_Identity], ignored: list[Path]) -> Iterator[Path]:
    """Yield the files in a folder and in those inside of it, sorted.

    Args:
        folder: Path of the folder.
        above: The identities of the folders that it is in, as far as they were entered.
        seen: The identities of all folders that were entered.
        ignored: List to which hidden files and what systems leave behind are added.
    """
    own = _identity(folder)
    if own in above:
        raise CifarZooError(f"{str(folder)!r} is a link to a folder that it is in; remove it")
    if len(above) > _DEEPEST:
        raise CifarZooError(f"{str(folder)!r} is more than {_DEEPEST} folders deep; move its images up")
    if own in seen:
        return
    seen.add(own)
    for child in _children(folder, ignored):
        if _is_folder(child):
            yield from _files(child, [*above, own], seen, ignored)
        else:
            yield child


def _identity(folder: Path) -> _Identity:
    """The device and the number of a folder, which are the same for all links to it."""
    status = folder.stat()
    return status.st_dev, status.st_ino


def _is_folder(path: Path) -> bool:
    """Whether a path is a folder or a link to one. Raises CifarZooError for a link whose target is out of reach."""
    try:
        return path.is_dir()
    except OSError as error:
        raise CifarZooError(f"{str(path)!r} cannot be read ({error.strerror})") from None


def _children(folder: Path, ignored: list[Path]) -> list[Path]:
    """Return what is in a folder, sorted; what systems leave behind is added to `ignored` instead."""
    try:
        children = sorted(folder.iterdir())
    except OSError as error:
        raise CifarZooError(f"{str(folder)!r} cannot be read ({error.strerror})") from None
    left_behind = [child.name.startswith(".") or child.name in LEFT_BEHIND for child in children]
    ignored += [child for child, ignore in zip(children, left_behind, strict=True) if ignore]
    return [child for child, ignore in zip(children, left_behind, strict=True) if not ignore]
