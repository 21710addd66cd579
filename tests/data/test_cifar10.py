"""Reading CIFAR-10 in all its file formats, intact and damaged."""

import hashlib
import pickle
import tarfile

import numpy as np
import pytest

from cifar_zoo import CifarZooError, load_cifar10
from cifar_zoo.data import cifar10 as module

RANDOM = np.random.default_rng(0)
ARRAYS = {
    "x_train": RANDOM.integers(0, 256, (50, 32, 32, 3), dtype="uint8"),
    "y_train": RANDOM.integers(0, 10, 50, dtype="uint8"),
    "x_test": RANDOM.integers(0, 256, (10, 32, 32, 3), dtype="uint8"),
    "y_test": RANDOM.integers(0, 10, 10, dtype="uint8"),
}
# The start and the classes of the official order, as anyone can read them off the published files.
FIRST_LABELS = [6, 9, 9, 4, 1, 1, 2, 7, 8, 3]
FIRST_TEST_LABELS = [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]


def save(path, **changes):
    np.savez(path, **{name: value for name, value in {**ARRAYS, **changes}.items() if value is not None})
    return path


def batches():
    """The five training batches and the test batch as (name, images, labels)."""
    for i in range(5):
        part = slice(10 * i, 10 * i + 10)
        yield f"data_batch_{i + 1}", ARRAYS["x_train"][part], ARRAYS["y_train"][part]
    yield "test_batch", ARRAYS["x_test"], ARRAYS["y_test"]


def write_python_folder(folder):
    folder.mkdir()
    for name, x, y in batches():
        batch = {b"data": x.transpose(0, 3, 1, 2).reshape(10, 3072), b"labels": [int(label) for label in y]}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
    return folder


def write_binary_folder(folder):
    folder.mkdir()
    for name, x, y in batches():
        rows = np.concatenate([y[:, None], x.transpose(0, 3, 1, 2).reshape(10, 3072)], axis=1)
        (folder / f"{name}.bin").write_bytes(rows.astype("uint8").tobytes())
    return folder


def assert_is_arrays(dataset):
    (x_train, y_train), (x_test, y_test) = dataset
    for name, found in {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}.items():
        np.testing.assert_array_equal(found, ARRAYS[name])
        assert found.dtype == np.uint8


def test_the_real_data(cifar10):
    (x_train, y_train), (x_test, y_test) = cifar10
    assert x_train.shape == (50_000, 32, 32, 3) and x_test.shape == (10_000, 32, 32, 3)
    assert y_train.shape == (50_000,) and y_test.shape == (10_000,)
    assert {array.dtype for array in (x_train, y_train, x_test, y_test)} == {np.dtype("uint8")}
    assert list(y_train[:10]) == FIRST_LABELS and list(y_test[:10]) == FIRST_TEST_LABELS
    assert set(np.bincount(y_train)) == {5000} and set(np.bincount(y_test)) == {1000}


def test_npz(tmp_path, monkeypatch):
    path = save(tmp_path / "data.npz")
    assert_is_arrays(load_cifar10(path))
    monkeypatch.setenv("CIFAR_ZOO_DATA", str(path))
    assert_is_arrays(load_cifar10())


def test_labels_as_keras_has_them(tmp_path):
    path = save(tmp_path / "data.npz", y_train=ARRAYS["y_train"][:, None].astype("int64"))
    assert_is_arrays(load_cifar10(path))


@pytest.mark.parametrize("write", [write_python_folder, write_binary_folder])
def test_folders(tmp_path, write):
    folder = write(tmp_path / ("cifar-10-batches-py" if write is write_python_folder else "cifar-10-batches-bin"))
    assert_is_arrays(load_cifar10(folder))
    assert_is_arrays(load_cifar10(tmp_path))  # the folder that holds it


def write_archive(tmp_path):
    folder = write_python_folder(tmp_path / "cifar-10-batches-py")
    path = tmp_path / "cifar-10-python.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, arcname=folder.name)
    return path


def test_archive(tmp_path, monkeypatch):
    path = write_archive(tmp_path)
    with pytest.raises(
        CifarZooError, match="its MD5 is .* and that of cifar-10-python.tar.gz is c58f30108f718f92721af"
    ):
        load_cifar10(path)
    monkeypatch.setattr(module, "MD5", hashlib.md5(path.read_bytes()).hexdigest())
    assert_is_arrays(load_cifar10(path))


def test_the_keras_cache(tmp_path, monkeypatch):
    monkeypatch.delenv("CIFAR_ZOO_DATA", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "datasets").mkdir()
    write_python_folder(tmp_path / "datasets" / "cifar-10-batches-py")
    assert_is_arrays(load_cifar10())


def test_the_download(tmp_path, monkeypatch):
    """From a server of our own in place of the university's."""
    path = write_archive(tmp_path)
    monkeypatch.delenv("CIFAR_ZOO_DATA", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "URL", path.as_uri())
    with pytest.raises(CifarZooError, match="cannot be downloaded from .*set CIFAR_ZOO_DATA"):
        load_cifar10()  # the wrong MD5
    monkeypatch.setattr(module, "MD5", hashlib.md5(path.read_bytes()).hexdigest())
    cached = tmp_path / "cache" / "datasets" / path.name
    cached.write_bytes(b"a download that broke off")
    assert_is_arrays(load_cifar10())  # replaced
    assert cached.read_bytes() == path.read_bytes()
    path.unlink()
    assert_is_arrays(load_cifar10())  # from the cache


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"y_test": None}, "has no array y_test; it has x_train, y_train, x_test"),
        ({"x_train": ARRAYS["x_train"].astype("float32")}, r"training images must be uint8 .* not float32 \(50, 32"),
        ({"x_train": ARRAYS["x_train"][..., 0]}, r"not uint8 \(50, 32, 32\)"),
        ({"x_test": ARRAYS["x_test"][:, :28]}, r"test images must be .* not uint8 \(10, 28, 32, 3\)"),
        ({"x_test": ARRAYS["x_test"][:0], "y_test": ARRAYS["y_test"][:0]}, r"not uint8 \(0, 32, 32, 3\)"),
        ({"y_train": ARRAYS["y_train"][:49]}, r"labels must be integers \(50,\), not uint8 \(49,\)"),
        ({"y_train": ARRAYS["y_train"].astype("float32")}, "labels must be integers"),
        ({"y_test": np.full(10, 10, "uint8")}, "test labels must be 0..9, not 10..10"),
        ({"y_test": np.full(10, -1)}, "test labels must be 0..9, not -1..-1"),
        ({"y_test": np.array([None] * 10)}, "not a whole .npz file of plain arrays"),
    ],
)
def test_wrong_arrays_are_refused(tmp_path, changes, message):
    path = save(tmp_path / "data.npz", **changes)
    with pytest.raises(CifarZooError, match=message) as error:
        load_cifar10(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_truncated_files_are_refused(tmp_path, share):
    path = save(tmp_path / "data.npz")
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CifarZooError, match="data.npz: not a whole .npz file"):
        load_cifar10(path)
    binary = write_binary_folder(tmp_path / "cifar-10-batches-bin")
    part = binary / "data_batch_3.bin"
    whole = part.read_bytes()
    part.write_bytes(whole[: int(share * 30_730) // 3073 * 3073 + (7 if share else 0)])
    with pytest.raises(CifarZooError, match=r"data_batch_3.bin: \d+ bytes are not a whole number of images"):
        load_cifar10(binary)
    part.write_bytes(whole[: 9 * 3073])  # whole images, but not all of them
    with pytest.raises(CifarZooError, match=r"data_batch_3.bin: 9 images, and the largest of the files has 10"):
        load_cifar10(binary)
    python = write_python_folder(tmp_path / "cifar-10-batches-py")
    part = python / "data_batch_2"
    part.write_bytes(part.read_bytes()[: int(share * 30_000)])
    with pytest.raises(CifarZooError, match="data_batch_2: not a batch of CIFAR-10"):
        load_cifar10(python)


def test_absent_files_are_refused(tmp_path):
    with pytest.raises(CifarZooError, match=r"nowhere.npz: there is no such file or folder; set CIFAR_ZOO_DATA"):
        load_cifar10(tmp_path / "nowhere.npz")
    with pytest.raises(CifarZooError, match="the folder holds no CIFAR-10"):
        load_cifar10(tmp_path)
    folder = write_python_folder(tmp_path / "cifar-10-batches-py")
    (folder / "data_batch_4").unlink()
    with pytest.raises(CifarZooError, match="data_batch_4: cannot be read"):
        load_cifar10(folder)


class _Attack:
    def __reduce__(self):
        import os

        return os.system, ("touch attacked",)


def test_pickles_are_read_without_being_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = write_python_folder(tmp_path / "cifar-10-batches-py")
    (folder / "data_batch_1").write_bytes(pickle.dumps({b"data": _Attack(), b"labels": []}))
    with pytest.raises(CifarZooError, match=r"not a batch of CIFAR-10 .*asks for (posix|nt).system"):
        load_cifar10(folder)
    assert not (tmp_path / "attacked").exists()
