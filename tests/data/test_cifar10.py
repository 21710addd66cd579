"""Reading CIFAR-10 in all its file formats, intact and damaged."""

import hashlib
import io
import pickle
import struct
import tarfile
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import numpy as np
import pytest
from hub_server import HubServer

from cifar_zoo import CifarZooError, download, load_cifar10
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


def as_string(content):
    return b"T" + struct.pack("<i", len(content)) + content


def as_batch(x, y):
    """A batch in the format of the published files: a pickle as Python 2 wrote it, with a NumPy array in it."""
    data = x.transpose(0, 3, 1, 2).tobytes()
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85U\1b\x87R(K\1"
    shape = b"J" + struct.pack("<i", len(x)) + b"M\0\x0c\x86"
    dtype = b"cnumpy\ndtype\nU\2u1K\0K\1\x87R(K\3U\1|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb\x89"
    labels = b"](" + b"".join(b"K" + bytes([label]) for label in y) + b"e"
    return (
        b"\x80\2}("
        + (as_string(b"batch_label") + as_string(b"a batch") + as_string(b"labels") + labels)
        + (as_string(b"data") + array + shape + dtype + as_string(data) + b"tb")
        + b"u."
    )


@pytest.fixture
def published(monkeypatch):
    """Batches of random images take the place of the published ones, of which the repository has no copy."""
    for name, x, y in batches():
        digest = hashlib.md5(as_batch(x, y)).hexdigest()
        monkeypatch.setitem(module.BATCHES, name, digest)


def write_python_folder(folder):
    folder.mkdir()
    for name, x, y in batches():
        (folder / name).write_bytes(as_batch(x, y))
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
def test_folders(tmp_path, published, write):
    folder = write(tmp_path / ("cifar-10-batches-py" if write is write_python_folder else "cifar-10-batches-bin"))
    assert_is_arrays(load_cifar10(folder))
    assert_is_arrays(load_cifar10(tmp_path))  # the folder that holds it


def write_archive(tmp_path):
    folder = write_python_folder(tmp_path / "cifar-10-batches-py")
    path = tmp_path / "cifar-10-python.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, arcname=folder.name)
    return path


def test_archive(tmp_path, published, monkeypatch):
    path = write_archive(tmp_path)
    with pytest.raises(
        CifarZooError, match="its MD5 is .* and that of cifar-10-python.tar.gz is c58f30108f718f92721af"
    ):
        load_cifar10(path)
    monkeypatch.setattr(module, "MD5", hashlib.md5(path.read_bytes()).hexdigest())
    assert_is_arrays(load_cifar10(path))


def test_the_keras_cache(tmp_path, published, monkeypatch):
    monkeypatch.delenv("CIFAR_ZOO_DATA", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "datasets").mkdir()
    write_python_folder(tmp_path / "datasets" / "cifar-10-batches-py")
    assert_is_arrays(load_cifar10())


@pytest.fixture
def server(tmp_path, published, monkeypatch):
    """A server of our own in place of the university's, with an archive of ours; the cache is empty."""
    content = write_archive(tmp_path).read_bytes()
    monkeypatch.delenv("CIFAR_ZOO_DATA", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")  # is about the hub only
    monkeypatch.setattr(time, "sleep", lambda _: None)
    with HubServer() as server:
        revision = server.add("data/cifar", {module.ARCHIVE: content})
        monkeypatch.setattr(module, "URL", f"{server.url}/data/cifar/resolve/{revision}/{module.ARCHIVE}")
        monkeypatch.setattr(module, "MD5", hashlib.md5(content).hexdigest())
        monkeypatch.setattr(module, "BYTES", len(content))
        yield server


def test_the_download(server, tmp_path):
    cached = tmp_path / "cache" / "datasets" / module.ARCHIVE
    server.fault("GET", "*", "cut", 5000, times=1)
    assert_is_arrays(load_cifar10())
    assert len(server.log) == 2 and [path.name for path in cached.parent.iterdir()] == [module.ARCHIVE]
    content = cached.read_bytes()
    for damaged in (b"a download that broke off", bytes(len(content))):
        cached.write_bytes(damaged)
        assert_is_arrays(load_cifar10())  # replaced
        assert cached.read_bytes() == content
    server.clear()
    assert_is_arrays(load_cifar10())  # from the cache
    assert server.log == []


def test_who_comes_second_waits_for_the_download(server):
    with ThreadPoolExecutor(4) as pool:
        for data in pool.map(lambda _: load_cifar10(), range(4)):
            assert_is_arrays(data)
    assert len(server.log) == 1


def test_a_download_that_goes_wrong(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "PATIENCE", 0.5)
    for action, value, message in [
        ("flip", None, "the download has the MD5 .* instead of"),
        ("status", 404, "404 Not Found"),
        ("endless", (200, {"Transfer-Encoding": "chunked", "Content-Encoding": "gzip"}), "the download has more than"),
        ("endless", (200, {}), "the download has more than"),
        ("drip", ("headers", 0.05), "less than 300,000 bytes came in 0.5 seconds"),
    ]:
        server.fault("GET", "*", action, value)
        with pytest.raises(
            CifarZooError, match=f"CIFAR-10 cannot be downloaded from .*{message}.*; set CIFAR_ZOO_DATA"
        ):
            load_cifar10()
        server.clear()
    assert [path.name for path in (tmp_path / "cache").rglob("*")] == ["datasets"] and server.sent < 20 * 16e6
    (tmp_path / "cache" / "datasets" / module.ARCHIVE).mkdir()
    with pytest.raises(CifarZooError, match="cannot be downloaded from .*Is a directory: .*set CIFAR_ZOO_DATA"):
        load_cifar10()
    monkeypatch.setenv("KERAS_HOME", "/dev/null")
    with pytest.raises(CifarZooError, match="cannot be downloaded from .*Not a directory: .*set CIFAR_ZOO_DATA"):
        load_cifar10()
    assert server.log == []


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
    with pytest.raises(CifarZooError, match="data.npz: not a whole .npz file" if share else "data.npz' is empty"):
        load_cifar10(path)
    binary = write_binary_folder(tmp_path / "cifar-10-batches-bin")
    part = binary / "data_batch_3.bin"
    whole = part.read_bytes()
    part.write_bytes(whole[: int(share * 30_730) // 3073 * 3073 + (7 if share else 0)])
    with pytest.raises(CifarZooError, match=r"data_batch_3.bin(: \d+ bytes are not a whole number|' is empty)"):
        load_cifar10(binary)
    part.write_bytes(whole[: 9 * 3073])  # whole images, but not all of them
    with pytest.raises(CifarZooError, match=r"data_batch_3.bin: 9 images, and the largest of the files has 10"):
        load_cifar10(binary)


def test_absent_files_are_refused(tmp_path):
    with pytest.raises(CifarZooError, match=r"nowhere.npz: there is no such file or folder; set CIFAR_ZOO_DATA"):
        load_cifar10(tmp_path / "nowhere.npz")
    with pytest.raises(CifarZooError, match="the folder holds no CIFAR-10"):
        load_cifar10(tmp_path)
    folder = write_binary_folder(tmp_path / "cifar-10-batches-bin")
    (folder / "data_batch_4.bin").unlink()
    with pytest.raises(CifarZooError, match="there is no file '.*data_batch_4.bin'"):
        load_cifar10(folder)


class _Attack:
    def __reduce__(self):
        import os

        return os.system, ("touch attacked",)


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps({b"data": _Attack(), b"labels": []}),
        pickle.dumps({b"data": np.zeros((10, 3072), "uint8"), b"labels": [0] * 10}),  # harmless, but not published
        b"\x80\2r\0\0\0\x10.",  # an index of the memo that takes gigabytes
        as_batch(ARRAYS["x_train"][:9], ARRAYS["y_train"][:9]),
    ],
)
def test_only_published_pickles_are_read(tmp_path, monkeypatch, published, content):
    monkeypatch.chdir(tmp_path)
    folder = write_python_folder(tmp_path / "cifar-10-batches-py")
    (folder / "data_batch_1").write_bytes(content)
    with pytest.raises(CifarZooError, match=r"data_batch_1: its MD5 is \w+, and .* no other pickle is read"):
        load_cifar10(folder)
    assert not (tmp_path / "attacked").exists()


def test_the_reader_of_pickles_builds_no_object_that_a_pickle_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    read = module._Unpickler(io.BytesIO(pickle.dumps([_Attack(), np.zeros(3), Fraction(1, 3)], protocol=2))).load()
    assert [type(value) for value in read] == [module._Values] * 3
    assert not (tmp_path / "attacked").exists()


def test_what_unpacks_to_more_than_cifar10_is_refused(tmp_path):
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(save(path, x_train=None), "a", 8) as archive, archive.open("x_train.npy", "w") as member:
        for _ in range(200):
            member.write(bytes(1_000_000))
    assert path.stat().st_size < 1_000_000
    with pytest.raises(
        CifarZooError, match="x_train has 200,000,000 bytes, more than the 184,320,000 that it can need"
    ):
        load_cifar10(path)
    with zipfile.ZipFile(save(path, x_train=None), "a", zipfile.ZIP_LZMA) as archive:
        archive.writestr("x_train.npy", bytes(100))
    with pytest.raises(CifarZooError, match="compressed by a method that NumPy does not use"):
        load_cifar10(path)
    header = np.lib.format.magic(1, 0) + struct.pack("<H", 118)
    header += b"{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000, 32, 32, 3)}".ljust(117) + b"\n"
    with zipfile.ZipFile(save(path, x_train=None), "a") as archive:
        archive.writestr("x_train.npy", header)
    with pytest.raises(CifarZooError, match="not a whole .npz file of plain arrays"):
        load_cifar10(path)


def test_changed_images_are_noticed(cifar10):
    train, test = cifar10
    assert module.other_images(train, test) == ""
    assert module.other_images((train[0][:600], train[1][:600]), test) == ""  # a subset
    twice = train[0].copy()
    twice[20_000:30_000] = twice[:10_000]
    assert module.other_images((twice, train[1]), test) == "the training images 20000 to 29999"
    labels = test[1].copy()
    labels[7] = 0
    first = train[0].copy()
    first[0, 0, 0, 0] ^= 1
    assert module.other_images((first, train[1]), (test[0], labels)) == (
        "the training images 0 to 9999 and the test images 0 to 9999"
    )
