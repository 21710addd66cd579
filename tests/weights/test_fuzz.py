"""Randomly damaged weights files and manifests are refused or read correctly."""

import contextlib
import io
import json
import math
import subprocess
import sys
import warnings
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from fuzz_reader import damage
from generated import examples

from cifar_zoo import CifarZooError, load_weights, save_weights
from cifar_zoo.weights.manifest import manifest_path, parse_manifest

hypothesis = pytest.importorskip("hypothesis")
st = hypothesis.strategies


@pytest.fixture(scope="module")
def network():
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, name="stem")(inputs)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.Dense(10)(keras.layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, x, name="tiny")


@pytest.fixture(scope="module")
def good(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("good") / "good.weights.h5"
    save_weights(network, path)
    return path.read_bytes()


def damaged(content):
    """Strategy: the content with bytes changed, a part copied elsewhere, or an end cut off; mostly where it counts."""
    used = [place for place, byte in enumerate(content) if byte]  # the rest is padding
    place = st.sampled_from(used)
    byte = st.tuples(st.just("byte"), place, st.integers(0, 255))
    word = st.tuples(
        st.just("word"), place, st.sampled_from([0, 1, 2**16, 2**31, 2**63, 2**64 - 1]) | st.sampled_from(used)
    )
    copy = st.tuples(st.just("copy"), place, place, st.integers(1, 200))
    cut = st.tuples(st.just("cut"), st.integers(0, len(content)))
    return st.lists(byte | word | copy | cut, min_size=1, max_size=4).map(lambda changes: damage(content, changes))


PATHS = [
    "layers",
    "layers/conv2d",
    "layers/conv2d/vars",
    "layers/conv2d/vars/0",
    "layers/dense/vars/1",
    "vars",
    "more/vars/0",
]
DTYPES = ["float16", "float32", "float64", ">f4", "int8", "uint64", "bool", "complex64", "S3", "V2", "float16,int8"]


def edits():
    """Strategy: what h5py can do to a file, as (kind, path, value)."""
    path = st.sampled_from(PATHS) | st.text(min_size=1, max_size=8)
    shape = st.lists(st.sampled_from([0, 1, 3, 4, 10, 2**20, 2**40]), max_size=4)
    return st.lists(
        st.tuples(st.just("delete"), path)
        | st.tuples(st.just("move"), path, path)
        | st.tuples(st.just("link"), path, path)
        | st.tuples(st.just("soft"), path, path)
        | st.tuples(st.just("external"), path, path)
        | st.tuples(st.just("group"), path)
        | st.tuples(
            st.just("name"), path, st.text() | st.binary(min_size=1) | st.floats() | st.sampled_from(["stem", "norm"])
        )
        | st.tuples(st.just("array"), path, shape, st.sampled_from(DTYPES), st.floats())
        | st.tuples(st.just("fill"), path, st.floats()),
        min_size=1,
        max_size=4,
    )


NO_EDIT = (ValueError, KeyError, OSError, RuntimeError, TypeError, AttributeError, OverflowError)


def edit(content, changes):
    buffer = io.BytesIO(content)
    with h5py.File(buffer, "r+") as file, warnings.catch_warnings(action="ignore"):  # of values that overflow
        for change in changes:
            # An edit may not apply after those before it, nor a value to its dataset's type.
            with contextlib.suppress(*NO_EDIT):
                _edit(file, *change)
    return buffer.getvalue()


def _edit(file, kind, path, *values):
    if kind == "delete":
        del file[path]
    elif kind == "move":
        file.move(path, values[0])
    elif kind == "link":
        file[values[0]] = file[path]
    elif kind == "soft":
        file[path] = h5py.SoftLink(values[0])
    elif kind == "external":
        file[path] = h5py.ExternalLink("other.h5", values[0])
    elif kind == "group":
        file.create_group(path)
    elif kind == "name":
        file[path].attrs["name"] = values[0]
    elif kind == "fill":
        file[path][...] = values[0]
    else:
        shape, dtype, fill = values
        file.pop(path, None)
        small = math.prod(shape) < 10**6
        array = file.create_dataset(path, shape, dtype)
        if small:
            array[...] = fill


def fuzz_load_weights(network, path, contents, number):
    """Every file is refused, and changes nothing, or fills the network with finite numbers."""
    original = network.get_weights()
    refused = loaded = 0

    @examples(number)
    @hypothesis.given(contents)
    def run(content):
        nonlocal refused, loaded
        path.write_bytes(content)
        before = network.get_weights()
        try:
            load_weights(network, path)
        except CifarZooError:
            refused += 1
            for ours, theirs in zip(network.get_weights(), before, strict=True):
                np.testing.assert_array_equal(ours, theirs)
        else:
            loaded += 1
            for ours, theirs in zip(network.get_weights(), before, strict=True):
                assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
                assert np.isfinite(ours).all()

    run()
    network.set_weights(original)
    return refused, loaded


def test_a_few_damaged_files(network, good, tmp_path):
    contents = damaged(good) | edits().map(lambda changes: edit(good, changes))
    assert sum(fuzz_load_weights(network, tmp_path / "a.weights.h5", contents, 8)) >= 8


@pytest.mark.full
@pytest.mark.parametrize("kind", ["bytes", "structure"])
def test_damaged_files(network, good, tmp_path, kind):
    contents = damaged(good) if kind == "bytes" else edits().map(lambda changes: edit(good, changes))
    refused, loaded = fuzz_load_weights(network, tmp_path / "a.weights.h5", contents, 150)
    assert refused > 20
    assert loaded > 5


@pytest.mark.full
def test_the_reader_with_thousands_of_damaged_files(good, tmp_path):
    """No exception gets out, and the memory stays within bounds; some files do crash HDF5's library."""
    pytest.importorskip("resource")
    (tmp_path / "good").write_bytes(good)
    command = [sys.executable, str(Path(__file__).with_name("fuzz_reader.py")), str(tmp_path / "good"), "60"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    ends = json.loads(run.stdout)
    assert ends["read"] > 20 and ends["refused"] > 200
    assert ends["memory"] * (1 if sys.platform == "darwin" else 1024) < 100e6


def json_values():
    """Strategy: any JSON, with the manifest's own words among the rest."""
    words = [
        name for tags in json.loads(manifest_path().read_text()).values() for entry in tags.values() for name in entry
    ]
    key = st.text(max_size=5) | st.sampled_from(sorted(set(words)))
    leaf = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
    return st.recursive(leaf, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(key, inner, max_size=4))


def manifests():
    """Strategy: the package's own manifest with some fields changed, removed or added; any JSON; any bytes."""
    own = manifest_path().read_text()
    networks = json.loads(own)
    fields = st.sampled_from(
        [(name, tag, field) for name in networks for tag in networks[name] for field in networks[name][tag]]
    )

    def change(changes):
        raw = json.loads(own)
        for (name, tag, field), remove, value in changes:
            raw[name][tag].pop(field, None)
            if not remove:
                raw[name][tag][field] = value
        return json.dumps(raw).encode()

    return (
        st.lists(st.tuples(fields, st.booleans(), json_values()), max_size=3).map(change)
        | json_values().map(lambda value: json.dumps(value).encode())
        | st.dictionaries(st.text(), json_values()).map(lambda value: json.dumps(value).encode())
        | st.binary()
        | st.integers(0, len(own)).map(lambda end: own[:end].encode())
        | st.sampled_from(
            [b"[" * 100_000, b'{"a":' * 100_000, b"9" * 10_000, b'{"a": {"b": NaN}}', b"\xff\xfe{}", b"\xef\xbb\xbf{}"]
        )
    )


def fuzz_manifest(path, number):
    @examples(number)
    @hypothesis.given(manifests())
    def run(content):
        path.write_bytes(content)
        try:
            manifest = parse_manifest(path)
        except CifarZooError as error:
            assert str(path) in str(error)
        else:
            for tags in manifest.values():
                assert sum(entry.best for entry in tags.values()) == 1

    run()


def test_a_few_wrong_manifests(tmp_path):
    fuzz_manifest(tmp_path / "manifest.json", 100)


@pytest.mark.full
def test_wrong_manifests(tmp_path):
    fuzz_manifest(tmp_path / "manifest.json", 2000)
