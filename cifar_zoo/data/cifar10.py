"""CIFAR-10 (Krizhevsky 2009): its constants, and the loader that finds and checks it."""

from __future__ import annotations

import errno
import hashlib
import io
import logging
import os
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cifar_zoo.download import DownloadError, fetch
from cifar_zoo.errors import CifarZooError
from cifar_zoo.files import check_room, named_path, open_file, read_file, user_folder, write_atomically
from cifar_zoo.lock import locked
from cifar_zoo.npz import array_names, read_array

_log = logging.getLogger(__name__)

Split = tuple[np.ndarray, np.ndarray]
Dataset = tuple[Split, Split]

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
# Mean and standard deviation of the 50,000 training images, per channel, in pixels 0..255.
MEAN = (125.307, 122.950, 113.865)
STD = (62.9932, 62.0887, 66.7048)

ARCHIVE = "cifar-10-python.tar.gz"
FOLDER = "cifar-10-batches-py"
URL = f"https://www.cs.toronto.edu/~kriz/{ARCHIVE}"
BYTES = 170_498_071
MD5 = "c58f30108f718f92721af3b95e74349a"  # published on https://www.cs.toronto.edu/~kriz/cifar.html
# The MD5 of each file in the archive, as torchvision.datasets.CIFAR10 has them.
BATCHES = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
# The start of the SHA-256 of 10,000 images and their labels each, in the official order. It leaves out the pixels of
# 105 images (the test images follow the 50,000 training images), of which some copies have what JPEG files decode to.
_DIGESTS = (
    "e7e974916abd6e68",
    "d508dec06000ddea",
    "4f5d0aca71f82018",
    "1647ee63064234e2",
    "807d7de099a5fdf1",
    "aba18808c70bbe06",
)
# fmt: off
_NOT_HASHED = (
    4298, 5949, 7066, 7237, 7248, 7630, 8006, 8831, 8968, 9415, 11027, 12762, 12834, 13546, 21493, 25728, 26098,
    26927, 27621, 28435, 28670, 28728, 29694, 29747, 29920, 31066, 31367, 31462, 31625, 31663, 32777, 33446,
    33641, 33661, 34067, 34276, 34387, 34471, 34825, 35160, 35646, 36733, 37329, 37474, 37567, 38089, 38384,
    38925, 39069, 39358, 39385, 39613, 39840, 39888, 39971, 41761, 41779, 42004, 42389, 42611, 43357, 43883,
    44420, 44882, 45168, 45240, 46175, 46435, 46538, 46624, 47393, 47597, 48081, 48124, 48333, 48821, 48836,
    49321, 49429, 49631, 49830, 49857, 51259, 51369, 51422, 51556, 52245, 52737, 52935, 53630, 53695, 53718,
    54085, 54496, 55791, 55896, 56286, 57580, 57707, 57724, 57832, 58117, 58541, 58551, 59254,
)
# fmt: on
_LARGEST_ARRAY = 60_000 * 32 * 32 * 3  # bytes; all images of CIFAR-10 in one array
_LARGEST_BATCH = 32_000_000  # bytes; the published files have 31 million
_LARGEST_ARCHIVE = 200_000_000  # bytes; the published one has 170 million
_LONGEST_DOWNLOAD = 5 * 3600  # seconds, at the lowest rate that a download may have


def load_cifar10(source: str | Path | None = None) -> Dataset:
    """Load the CIFAR-10 dataset.

    Args:
        source: Path of an .npz file with the arrays x_train, y_train, x_test and y_test, of a folder
            "cifar-10-batches-py" or "cifar-10-batches-bin", of the archive "cifar-10-python.tar.gz", or of a folder
            that contains one of these. None tries the environment variable CIFAR_ZOO_DATA, then the cache of
            `keras.datasets`, then the download.

    Returns:
        `((x_train, y_train), (x_test, y_test))`: images, uint8 (n, 32, 32, 3), and labels 0..9, uint8 (n,).

    Raises:
        CifarZooError: If the source does not exist, is damaged, or is not CIFAR-10. The message names the file and what
            was found in it.
    """
    if source is None:
        source = os.environ.get("CIFAR_ZOO_DATA") or _cached()
    if source is None:
        path, content = _download()
        return _checked(_decode_archive(content, path), path)
    path = named_path(source)
    if not path.exists():
        raise CifarZooError(f"{path}: there is no such file or folder; set CIFAR_ZOO_DATA to where CIFAR-10 is")
    if not path.is_dir():
        data = _read_npz(path) if path.suffix == ".npz" else _read_archive(path)
    elif (path / "data_batch_1.bin").exists():
        data = _join(path, ".bin", lambda file: _decode_binary(read_file(file, _LARGEST_BATCH), file))
    elif (path / "data_batch_1").exists():
        data = _join(path, "", lambda file: _decode(read_file(file, _LARGEST_BATCH), file))
    else:
        inside = [path / name for name in (FOLDER, "cifar-10-batches-bin", ARCHIVE) if (path / name).exists()]
        if not inside:
            raise CifarZooError(
                f"{path}: the folder holds no CIFAR-10 (no data_batch_1, data_batch_1.bin or {ARCHIVE})"
            )
        return load_cifar10(inside[0])
    return _checked(data, path)


def _checked(data: Dataset, path: Path) -> Dataset:
    train, test = check_split(data[0], f"{path}: training", 32), check_split(data[1], f"{path}: test", 32)
    if others := other_images(train, test):
        _log.warning("%s: %s are not those of CIFAR-10", path, others)
    return train, test


def check_split(
    split: Split, where: str, side: int | None = None, *, channels: int = 3, classes: int | None = len(CLASSES)
) -> Split:
    """Check the images and labels of one split, and return them as arrays.

    Args:
        split: `(images, labels)`: uint8 (n, rows, columns, channels), and integers from 0 to classes - 1, (n,) or
            (n, 1).
        where: How messages name the split.
        side: Integer or None. The height and width that the images must have; None accepts any.
        channels: Integer. Number of channels that the images must have.
        classes: Integer or None. Number of classes; None accepts any labels from 0.

    Returns: the images, and the labels (n,), as uint8 for up to 256 classes.

    Raises:
        CifarZooError: If they are anything else.
    """
    try:
        x, y = (np.asarray(array) for array in split)
    except (TypeError, ValueError):  # no sequence, not of two, or not arrays
        raise CifarZooError(f"{where} must be a pair (images, labels) of arrays, not {_described(split)}") from None
    size = (side, side) if side else x.shape[1:3]
    if x.dtype != np.uint8 or x.ndim != 4 or x.shape[1:] != (*size, channels) or not len(x):
        wanted = "32, 32" if side else "rows, columns"
        raise CifarZooError(f"{where} images must be uint8 (n, {wanted}, {channels}), not {x.dtype} {x.shape}")
    if y.ndim == 2 and y.shape[1] == 1:  # as keras.datasets has them
        y = y[:, 0]
    if y.dtype.kind not in "iu" or y.shape != (len(x),):
        raise CifarZooError(f"{where} labels must be integers ({len(x)},), not {y.dtype} {y.shape}")
    if y.min() < 0 or (classes is not None and y.max() >= classes):
        last = "" if classes is None else classes - 1
        raise CifarZooError(f"{where} labels must be 0..{last}, not {y.min()}..{y.max()}")
    return x, y.astype(np.uint8 if (int(y.max()) + 1 if classes is None else classes) <= 256 else np.int64)


def _described(value: Any) -> str:
    """The type of a value and, if it has one, its length."""
    name = type(value).__name__
    return f"a {name} of {len(value)}" if hasattr(value, "__len__") else f"a {name}"


def _read_npz(path: Path) -> Dataset:
    names = ("x_train", "y_train", "x_test", "y_test")
    with open_file(path) as raw:
        try:
            with zipfile.ZipFile(raw) as archive:
                inside = array_names(archive)
                missing = [name for name in names if name not in inside]
                if missing:
                    raise CifarZooError(f"{path}: has no array {', '.join(missing)}; it has {', '.join(inside)}")
                x_train, y_train, x_test, y_test = (read_array(archive, name, _LARGEST_ARRAY) for name in names)
        except CifarZooError:
            raise
        except Exception as error:  # zipfile, zlib, NumPy and the system each have their own
            raise CifarZooError(f"{path}: not a whole .npz file of plain arrays ({error})") from error
    return (x_train, y_train), (x_test, y_test)


def _read_archive(path: Path) -> Dataset:
    """Read the official archive, whose MD5 is checked first."""
    content = read_file(path, _LARGEST_ARCHIVE)
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if digest != MD5:
        raise CifarZooError(
            f"{path}: its MD5 is {digest}, and that of {ARCHIVE} is {MD5}; the file is damaged or another one, "
            f"fetch it again from {URL}"
        )
    return _decode_archive(content, path)


def _decode_archive(content: bytes, path: Path) -> Dataset:
    """Read the batches in the official archive without unpacking it to disk."""
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        members = {Path(member.name).name: member for member in archive.getmembers() if member.isfile()}
        return _join(path, "", lambda batch: _decode(_unpack(archive, members[batch.name]), batch))


def _unpack(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    assert file is not None  # members are regular files
    return file.read()


def other_images(train: Split, test: Split) -> str:
    """Name the batches of 10,000 images that differ from CIFAR-10, in pixels, labels or order.

    Args:
        train: Images and labels of the training set, as `check_split` returns them.
        test: Those of the test set.

    Returns:
        A phrase such as "the training images 10000 to 19999"; "" if all are as published, or if there are not 50,000
        and 10,000 images, so that the data is a subset or another data set anyway.
    """
    if (len(train[0]), len(test[0])) != (50_000, 10_000):
        return ""
    others = []
    for number, wanted in enumerate(_DIGESTS):
        split, (images, labels), start = ("training", train, 10_000 * number) if number < 5 else ("test", test, 0)
        hashed = np.setdiff1d(np.arange(10_000), np.subtract(_NOT_HASHED, 10_000 * number)) + start
        digest = hashlib.sha256(images[hashed].tobytes() + labels[start : start + 10_000].tobytes()).hexdigest()
        if not digest.startswith(wanted):
            others.append(f"the {split} images {start} to {start + 9_999}")
    return " and ".join(others)


def is_cifar10(train: Split, test: Split) -> bool:
    """Whether these are the 50,000 training images and the 10,000 test images of CIFAR-10, as `other_images` says."""
    return (len(train[0]), len(test[0])) == (50_000, 10_000) and not other_images(train, test)


def _join(folder: Path, suffix: str, read: Callable[[Path], Split]) -> Dataset:
    """The five training batches and the test batch of a folder, put together."""
    parts = {f"{name}{suffix}": read(folder / f"{name}{suffix}") for name in BATCHES}
    most = max(len(x) for x, _ in parts.values())
    for name, (x, _) in parts.items():
        if len(x) != most:  # all six have the same number, so that a file cut off after a whole image shows
            raise CifarZooError(f"{folder / name}: {len(x)} images, and the largest of the files has {most}")
    *train, test = parts.values()
    return (np.concatenate([x for x, _ in train]), np.concatenate([y for _, y in train])), test


def _decode_binary(content: bytes, path: Path) -> Split:
    """One batch of the binary version: for each image its label in one byte, then 3 x 32 x 32 bytes of pixels."""
    if not content or len(content) % 3073:
        raise CifarZooError(f"{path}: {len(content)} bytes are not a whole number of images of 3073 bytes")
    records = np.frombuffer(content, np.uint8).reshape(-1, 3073)
    return _pixels(records[:, 1:]), records[:, 0]


def _pixels(rows: np.ndarray) -> np.ndarray:
    """Rows of 3072 bytes, one color plane after the other, as images (n, 32, 32, 3)."""
    return rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)


class _Values:
    """Stands for a NumPy array or dtype in a pickle: it keeps the values that were pickled and interprets none."""

    state: tuple[Any, ...] = ()

    def __init__(self, *arguments: Any) -> None:
        pass

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state


class _Unpickler(pickle.Unpickler):
    """Builds plain values and `_Values`, and no object that the pickle names."""

    def find_class(self, module: str, name: str) -> Any:
        return _Values


def _decode(content: bytes, path: Path) -> Split:
    """One batch of the Python version: a pickled dict with data (n, 3072) and labels.

    Only the published batches are read: a pickle is a program, and even one that names no function can make the
    unpickler use up all memory.
    """
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if digest != (wanted := BATCHES[path.name]):
        raise CifarZooError(
            f"{path}: its MD5 is {digest}, and that of the published file is {wanted}; no other pickle is read, so "
            "fetch it again, or save its arrays as x_train, y_train, x_test and y_test with numpy.savez"
        )
    batch = _Unpickler(io.BytesIO(content), encoding="bytes").load()
    _, shape, _, _, pixels = batch[b"data"].state
    return _pixels(np.frombuffer(pixels, np.uint8).reshape(shape)), np.asarray(batch[b"labels"])


def _cached() -> Path | None:
    """The folder that `keras.datasets.cifar10` keeps in its cache, if it is there."""
    datasets = _keras_home() / "datasets"
    for folder in (datasets / f"{FOLDER}-target" / FOLDER, datasets / FOLDER):
        if (folder / "test_batch").exists():
            return folder
    return None


def _keras_home() -> Path:
    return named_path(given) if (given := os.environ.get("KERAS_HOME")) else user_folder(".keras")


def _download() -> tuple[Path, bytes]:
    """The official archive in the Keras cache and its content, downloaded if it is missing or damaged."""
    path = _keras_home() / "datasets" / ARCHIVE
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if content := _whole(path):
            return path, content
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.with_name(f"{ARCHIVE}.lock"), "another download", "try again later", wait=_LONGEST_DOWNLOAD):
            if not (content := _whole(path)):  # another process may have fetched it meanwhile
                check_room(path.parent, BYTES)
                content = fetch(URL, BYTES, _difference)
                write_atomically(path, lambda temporary: temporary.write_bytes(content))
            return path, content
    except (DownloadError, OSError) as error:
        raise CifarZooError(
            f"CIFAR-10 cannot be downloaded from {URL} ({error}); set CIFAR_ZOO_DATA to an .npz, folder or archive"
        ) from error


def _whole(path: Path) -> bytes:
    """The content of the archive; b"" if the file is missing or damaged."""
    if not path.is_file() or path.stat().st_size != BYTES:
        return b""
    content = path.read_bytes()
    return b"" if _difference(content) else content


def _difference(archive: bytes) -> str:
    """How some content differs from that of the archive; "" if it does not."""
    digest = hashlib.md5(archive, usedforsecurity=False).hexdigest()
    return "" if digest == MD5 else f"has the MD5 {digest} instead of {MD5}"
