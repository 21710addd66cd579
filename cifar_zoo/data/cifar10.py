"""CIFAR-10 (Krizhevsky 2009): its constants, and the loader that finds and checks it."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from cifar_zoo.errors import CifarZooError
from cifar_zoo.files import user_folder

Split = tuple[np.ndarray, np.ndarray]
Dataset = tuple[Split, Split]

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
# Mean and standard deviation of the 50,000 training images, per channel, in pixels 0..255.
MEAN = (125.307, 122.950, 113.865)
STD = (62.9932, 62.0887, 66.7048)

ARCHIVE = "cifar-10-python.tar.gz"
FOLDER = "cifar-10-batches-py"
URL = f"https://www.cs.toronto.edu/~kriz/{ARCHIVE}"
MD5 = "c58f30108f718f92721af3b95e74349a"  # published on https://www.cs.toronto.edu/~kriz/cifar.html
TRAIN = [f"data_batch_{i}" for i in range(1, 6)]
TEST = ["test_batch"]


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
        source = os.environ.get("CIFAR_ZOO_DATA") or _cached() or _download()
    path = Path(source).expanduser()
    if not path.exists():
        raise CifarZooError(f"{path}: there is no such file or folder; set CIFAR_ZOO_DATA to where CIFAR-10 is")
    if path.is_file():
        train, test = _read_npz(path) if path.suffix == ".npz" else _read_archive(path)
    elif (path / "data_batch_1.bin").exists():
        train, test = _join(path, ".bin", lambda file: _decode_binary(_read_file(file), file))
    elif (path / "data_batch_1").exists():
        train, test = _join(path, "", lambda file: _decode(_read_file(file), file))
    else:
        inside = [path / name for name in (FOLDER, "cifar-10-batches-bin", ARCHIVE) if (path / name).exists()]
        if not inside:
            raise CifarZooError(
                f"{path}: the folder holds no CIFAR-10 (no data_batch_1, data_batch_1.bin or {ARCHIVE})"
            )
        return load_cifar10(inside[0])
    return check_split(train, f"{path}: training", 32), check_split(test, f"{path}: test", 32)


def check_split(split: Split, where: str, side: int | None = None) -> Split:
    """Check the images and labels of one split, and return them as arrays.

    Args:
        split: `(images, labels)`: uint8 (n, rows, columns, 3), and integers 0..9, (n,) or (n, 1).
        where: How messages name the split.
        side: Integer or None. The height and width that the images must have; None accepts any.

    Returns: the images, and the labels as uint8 (n,).

    Raises:
        CifarZooError: If they are anything else.
    """
    try:
        x, y = (np.asarray(array) for array in split)
    except (TypeError, ValueError):  # no sequence, not of two, or not arrays
        raise CifarZooError(f"{where} must be a pair (images, labels) of arrays, not {_described(split)}") from None
    size = (side, side) if side else x.shape[1:3]
    if x.dtype != np.uint8 or x.ndim != 4 or x.shape[1:] != (*size, 3) or not len(x):
        wanted = "32, 32" if side else "rows, columns"
        raise CifarZooError(f"{where} images must be uint8 (n, {wanted}, 3), not {x.dtype} {x.shape}")
    if y.ndim == 2 and y.shape[1] == 1:  # as keras.datasets has them
        y = y[:, 0]
    if y.dtype.kind not in "iu" or y.shape != (len(x),):
        raise CifarZooError(f"{where} labels must be integers ({len(x)},), not {y.dtype} {y.shape}")
    if y.min() < 0 or y.max() > 9:
        raise CifarZooError(f"{where} labels must be 0..9, not {y.min()}..{y.max()}")
    return x, y.astype(np.uint8)


def _described(value: Any) -> str:
    """The type of a value and, if it has one, its length."""
    name = type(value).__name__
    return f"a {name} of {len(value)}" if hasattr(value, "__len__") else f"a {name}"


def _read_npz(path: Path) -> Dataset:
    names = ("x_train", "y_train", "x_test", "y_test")
    try:
        # NumPy leaves a file that it opened itself open when it is damaged.
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            missing = [name for name in names if name not in file.files]
            if missing:
                raise CifarZooError(f"{path}: has no array {', '.join(missing)}; it has {', '.join(file.files)}")
            x_train, y_train, x_test, y_test = (file[name] for name in names)
    except CifarZooError:
        raise
    except Exception as error:  # zipfile, zlib, NumPy and the system each have their own
        raise CifarZooError(f"{path}: not a whole .npz file of plain arrays ({error})") from error
    return (x_train, y_train), (x_test, y_test)


def _read_archive(path: Path) -> Dataset:
    """Read the official archive, whose MD5 is checked first, without unpacking it to disk."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "md5").hexdigest()
    if digest != MD5:
        raise CifarZooError(
            f"{path}: its MD5 is {digest}, and that of {ARCHIVE} is {MD5}; the file is damaged or another one, "
            f"fetch it again from {URL}"
        )
    with tarfile.open(path) as archive:
        members = {Path(member.name).name: member for member in archive.getmembers() if member.isfile()}

        return _join(path, "", lambda file: _decode(_member(archive, members[file.name]), file))


def _member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    assert file is not None  # members are regular files
    return file.read()


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CifarZooError(f"{path}: cannot be read ({error.strerror})") from error


def _join(folder: Path, suffix: str, read: Callable[[Path], Split]) -> Dataset:
    """The five training batches and the test batch of a folder, put together."""
    parts = {f"{name}{suffix}": read(folder / f"{name}{suffix}") for name in [*TRAIN, *TEST]}
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


class _PlainUnpickler(pickle.Unpickler):
    """Reads pickles of NumPy arrays and plain values, and refuses everything else that a pickle could call."""

    _allowed: ClassVar = {
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("_codecs", "encode"): lambda text, encoding: text.encode(encoding),
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in self._allowed:
            return self._allowed[module, name]
        if name == "_reconstruct" and module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            return lambda kind, shape, code: np.ndarray(shape, np.uint8)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def _decode(content: bytes, path: Path) -> Split:
    """One batch of the Python version: a pickled dict with data (n, 3072) and labels."""
    try:
        batch = _PlainUnpickler(io.BytesIO(content), encoding="bytes").load()
        data, labels = batch[b"data"], np.asarray(batch[b"labels"])
        if not isinstance(data, np.ndarray) or data.ndim != 2 or data.shape[1] != 3072 or data.dtype != np.uint8:
            raise ValueError(f"data is {getattr(data, 'dtype', type(data))} {getattr(data, 'shape', '')}")
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise CifarZooError(f"{path}: not a batch of CIFAR-10 ({type(error).__name__}: {error})") from error
    return _pixels(data), labels


def _cached() -> Path | None:
    """The folder that `keras.datasets.cifar10` keeps in its cache, if it is there."""
    datasets = _keras_home() / "datasets"
    for folder in (datasets / f"{FOLDER}-target" / FOLDER, datasets / FOLDER):
        if (folder / "test_batch").exists():
            return folder
    return None


def _keras_home() -> Path:
    return Path(given).expanduser() if (given := os.environ.get("KERAS_HOME")) else user_folder(".keras")


def _download() -> Path:
    """The official archive in the Keras cache, downloaded if it is missing or damaged."""
    import keras

    home = _keras_home()
    try:
        home.mkdir(parents=True, exist_ok=True)  # Keras goes elsewhere if it is not there
        path = keras.utils.get_file(
            ARCHIVE, URL, file_hash=MD5, hash_algorithm="md5", cache_subdir="datasets", cache_dir=home
        )
    except Exception as error:  # urllib, sockets, a wrong hash
        raise CifarZooError(
            f"CIFAR-10 cannot be downloaded from {URL} ({error}); set CIFAR_ZOO_DATA to an .npz, folder or archive"
        ) from error
    return Path(path)
