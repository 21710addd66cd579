"""Published test sets beside that of CIFAR-10, read from their own files: CIFAR-10.1, CIFAR-10.2 and CIFAR-10H."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np

from cifar_zoo.data.cifar10 import Split, check_split
from cifar_zoo.errors import CifarZooError
from cifar_zoo.files import git_hash, named_path, read_file
from cifar_zoo.npz import read_array

_IMAGE = 32 * 32 * 3  # bytes
_LARGEST = 10_000 * _IMAGE + 2**20  # bytes, of the images of CIFAR-10.2's training set and what is beside them
# The SHA-1 of each published file as Git computes it, from the repositories modestyachts/CIFAR-10.1,
# modestyachts/cifar-10.2 and jcpeterson/cifar-10h on GitHub.
PUBLISHED = {
    "cifar10.1_v4_data.npy": "1094f59a54cf768f7b1ca5029eb4a94b8c635ebe",
    "cifar10.1_v4_labels.npy": "64acdcc7ba98d0554f9c9fe00c5483d9247e61df",
    "cifar10.1_v6_data.npy": "24349cc5f3fb59648d75cd8015b5a184b1f5c250",
    "cifar10.1_v6_labels.npy": "e713b09cecf2ecd933970001909fcdec7c907ab0",
    "cifar102_test.npz": "7a3829681be56af70ea80ec99cf3822e2f5edff3",
    "cifar102_train.npz": "817ff5f62c570547b0bc84fbab178842eb999503",
    "cifar10h-probs.npy": "b213df0cfd1d7105612ed7c58665648446322af7",
}
# By the name of the file with the images, that of the file with the labels.
VARIANTS = {
    "cifar10.1_v4_data.npy": "cifar10.1_v4_labels.npy",
    "cifar10.1_v6_data.npy": "cifar10.1_v6_labels.npy",
    "cifar102_test.npz": "cifar102_test.npz",
    "cifar102_train.npz": "cifar102_train.npz",
}


def load_variant(path: str | Path) -> Split:
    """Load CIFAR-10.1 or CIFAR-10.2, new test images for the classes of CIFAR-10.

    Args:
        path: Path of the published file with the images: cifar10.1_v4_data.npy or cifar10.1_v6_data.npy, beside which
            are its labels; cifar102_test.npz or cifar102_train.npz.

    Returns:
        `(images, labels)`: uint8 (n, 32, 32, 3), and labels 0..9, uint8 (n,). CIFAR-10.1 v4 has 2,021 images, v6 has
        2,000; CIFAR-10.2 has 2,000 test images and 10,000 others.

    Raises:
        CifarZooError: If a file does not exist, or its content is not the published one.

    References:
        - Recht et al., "Do CIFAR-10 Classifiers Generalize to CIFAR-10?", 2018 (arXiv:1806.00451)
        - Lu et al., "Harder or Different? A Closer Look at Distribution Shift in Dataset Reproduction", 2020
    """
    file = named_path(path)
    if file.name not in VARIANTS:
        raise CifarZooError(f"{file}: the published files are {', '.join(VARIANTS)}")
    content = _read_published(file)
    if file.suffix == ".npz":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            images, labels = (read_array(archive, name, _LARGEST) for name in ("images", "labels"))
    else:
        images, labels = _array(content), _array(_read_published(file.with_name(VARIANTS[file.name])))
    return check_split((images, labels), f"{file}:", 32)


def load_cifar10h(path: str | Path) -> np.ndarray:
    """Load CIFAR-10H, how about 50 people each classified the test images of CIFAR-10.

    Args:
        path: Path of the published file cifar10h-probs.npy.

    Returns:
        The fraction of people who chose each class, float64 (10000, 10), in the order of the test images.

    Raises:
        CifarZooError: If the file does not exist, or its content is not the published one.

    Reference: Peterson et al., "Human uncertainty makes classification more robust", 2019 (arXiv:1908.07086).
    """
    file = named_path(path)
    if file.name != "cifar10h-probs.npy":
        raise CifarZooError(f"{file}: the published file is cifar10h-probs.npy")
    return _array(_read_published(file))


def _read_published(file: Path) -> bytes:
    """Read a file whose SHA-1 is known."""
    content = read_file(file, _LARGEST)
    digest = git_hash(content)
    if digest != PUBLISHED[file.name]:
        raise CifarZooError(
            f"{file}: its SHA-1 (as of `git hash-object`) is {digest}, and that of the published {file.name} is "
            f"{PUBLISHED[file.name]}; the file is damaged or another one, fetch it again"
        )
    return content


def _array(content: bytes) -> np.ndarray:
    array: np.ndarray = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    return array
