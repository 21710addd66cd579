"""Hostile weights files are refused, no other file is read, and the network keeps its weights."""

import json
import math
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

import cifar_zoo
from cifar_zoo import CifarZooError, load_weights, save_weights
from cifar_zoo.weights import reader
from cifar_zoo.weights.files import layout, stored_layout

ROOT = Path(__file__).parents[2]
CANARY = 7.25
STEM = "layers/conv2d/vars"
HUGE = 2**40


def make_network():
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, name="stem")(inputs)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.Dense(6)(keras.layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, keras.layers.Dense(10, name="classifier")(x), name="tiny")


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(1)
    return make_network()


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A file of another network of the same layers."""
    keras.utils.set_random_seed(2)
    path = tmp_path_factory.mktemp("good") / "good.weights.h5"
    save_weights(make_network(), path)
    return path


@pytest.fixture
def path(good, tmp_path):
    path = tmp_path / "hostile.weights.h5"
    path.write_bytes(good.read_bytes())
    return path


@pytest.fixture
def outside(tmp_path):
    """A file elsewhere with values that must not be read, and with the time of its last reading set to 1970."""
    path = tmp_path / "outside.h5"
    with h5py.File(path, "w") as file:
        file["kernel"] = np.full((3, 3, 3, 4), CANARY, "float32")
        file["group/vars/0"] = np.full((3, 3, 3, 4), CANARY, "float32")
    os.utime(path, (0, path.stat().st_mtime))
    return path


def assert_refused(network, path, message):
    before = network.get_weights()
    with pytest.raises(CifarZooError, match=message) as error:
        load_weights(network, path)
    assert str(path) in str(error.value)
    for ours, theirs in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def put(file, **options):
    """Replace the stem's kernel."""
    del file[STEM]["0"]
    return file[STEM].create_dataset("0", **options)


# What an edit of a good file makes of it, and what is said about it.


def soft_link(file):
    del file[STEM]["0"]
    file[STEM]["0"] = h5py.SoftLink("/layers/dense/vars/0")


def dangling_link(file):
    file["layers/more"] = h5py.SoftLink("/nowhere")


def soft_link_to_a_group(file):
    file.move("layers/conv2d", "elsewhere")
    file["layers/conv2d"] = h5py.SoftLink("/elsewhere")


def cycle(file):
    file["layers/conv2d/again"] = file["layers"]


def cycle_to_the_root(file):
    file[STEM]["2"] = file["/"]


def same_array_twice(file):
    del file["layers/dense_1/vars/1"]
    file["layers/dense_1/vars/1"] = file["layers/dense_1/vars/0"]


def group_for_an_array(file):
    del file[STEM]["0"]
    file[STEM].create_group("0")


def array_for_a_group(file):
    del file["layers/conv2d"]
    file["layers/conv2d"] = np.zeros(3, "float16")


def array_beside_vars(file):
    file["layers/conv2d/0"] = np.zeros(3, "float16")


def named_type(file):
    file["layers/type"] = np.dtype("float32")


def no_storage(file):
    put(file, shape=(3, 3, 3, 4), dtype="float16", fillvalue=1.5)


def huge_shape(file):
    put(file, shape=(HUGE,), dtype="float64", fillvalue=1e300)


def huge_chunks(file):
    kernel = put(file, shape=(HUGE,), dtype="float32", chunks=(2**20,), compression="gzip")
    kernel[: 2**20] = 0


def huge_chunk_of_a_small_array(file):
    put(file, shape=(3, 3, 3, 4), maxshape=(None,) * 4, chunks=(3, 3, 2**13, 2**13), dtype="float32")


def unknown_filter(file):
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk((3, 3, 3, 4))
    properties.set_filter(32099, h5py.h5z.FLAG_OPTIONAL)
    del file[STEM]["0"]
    space = h5py.h5s.create_simple((3, 3, 3, 4))
    h5py.h5d.create(file[STEM].id, b"0", h5py.h5t.IEEE_F32LE, space, properties)


def no_dimension(file):
    put(file, data=np.float16(1))


def empty_dimension(file):
    put(file, shape=(3, 3, 0, HUGE), dtype="float16")


def null_space(file):
    put(file, dtype="float16", shape=None, data=h5py.Empty("float16"))


def deep(file):
    file.create_group("/".join(["a"] * 400))


def long_name(file):
    file.create_group("n" * 5000)


def escape_codes(file):
    file.create_group("layers/\x1b[31mred")


def long_layer(file):
    file[STEM].attrs["name"] = "n" * 20_000


def layer_with_a_path(file):
    file[STEM].attrs["name"] = "/layers/dense"


def swapped_names(file):
    file[STEM].attrs["name"], file["layers/dense_1/vars"].attrs["name"] = "classifier", "stem"


def same_name(file):
    file["layers/dense_1/vars"].attrs["name"] = "stem"


def array_as_a_name(file):
    file[STEM].attrs["name"] = np.zeros(1000)


def other_type(dtype):
    def edit(file):
        put(file, shape=(3, 3, 3, 4), dtype=dtype)[...] = np.zeros((3, 3, 3, 4), dtype)

    edit.__name__ = f"type_{dtype}"
    return edit


def references(file):
    put(file, shape=(3, 3, 3, 4), dtype=h5py.ref_dtype)[...] = file["layers"].ref


def strings(file):
    put(file, shape=(3, 3, 3, 4), dtype=h5py.string_dtype())[...] = "1.0"


def ragged(file):
    put(file, shape=(108,), dtype=h5py.vlen_dtype("float32"))[0] = np.zeros(5)


def value(number):
    def edit(file):
        put(file, data=np.full((3, 3, 3, 4), number))

    edit.__name__ = f"value_{number}"
    return edit


def missing_array(file):
    del file["layers/dense_1/vars/1"]


def missing_layer(file):
    del file["layers/dense_1"]


def surplus_layer(file):
    file["layers/dense_2/vars/0"] = np.zeros(3, "float16")


def surplus_variable_of_the_network(file):
    file["vars/0"] = np.zeros(3, "float16")


def other_shape(file):
    put(file, data=np.zeros((3, 3, 3, 5), "float16"))


def same_size_in_another_shape(file):
    put(file, data=np.zeros((3, 3, 4, 3), "float16"))


EDITS = [
    (soft_link, f"/{STEM}/0 is a link to somewhere else"),
    (dangling_link, "/layers/more is a link to somewhere else"),
    (soft_link_to_a_group, "/layers/conv2d is a link to somewhere else"),
    (cycle, "is in the file under another name, too"),
    (cycle_to_the_root, "is in the file under another name, too"),
    (same_array_twice, "is in the file under another name, too"),
    (group_for_an_array, "has no stem/0, which tiny needs"),
    (array_for_a_group, "/layers/conv2d is not where Keras keeps arrays"),
    (array_beside_vars, "/layers/conv2d/0 is not where Keras keeps arrays"),
    (named_type, "/layers/type is neither a group nor an array"),
    (no_storage, "needs 216 bytes for its shape .* and has 0"),
    (huge_shape, f"needs {8 * HUGE} bytes for its shape .* and has 0"),
    (huge_chunks, "is virtual or in chunks"),
    (huge_chunk_of_a_small_array, "is virtual or in chunks"),
    (unknown_filter, "is virtual or in chunks"),
    (no_dimension, r"stem/0 is \(\), and tiny needs \(3, 3, 3, 4\)"),
    (empty_dimension, "holds no values"),
    (null_space, "holds no values"),
    (deep, "too long or not printable"),
    (long_name, "too long or not printable"),
    (escape_codes, r"not printable: '/layers/\\x1b\[31mred'"),
    (long_layer, "too long or not printable"),
    (layer_with_a_path, "impossible name"),
    (swapped_names, r"classifier/0 is \(3, 3, 3, 4\), and tiny needs \(6, 10\)"),
    (same_name, "has /layers/conv2d/0, which tiny does not have"),
    (array_as_a_name, "not printable"),
    (other_type("S10"), r"is of dtype \|S10"),
    (other_type("complex64"), "is of dtype <c8"),
    (other_type("bool"), r"is of dtype \|b1"),
    (other_type("float16,int8"), r"is of dtype \|V3"),
    (other_type("V2"), r"is of dtype \|V2"),
    (other_type("int32"), "stem/0 is of dtype <i4, and tiny needs <f4"),
    (other_type("uint8"), r"stem/0 is of dtype \|u1, and tiny needs <f4"),
    (references, r"is of dtype \|O"),
    (strings, r"is of dtype \|O"),
    (ragged, r"is of dtype \|O"),
    (value(np.nan), f"/{STEM}/0 holds values that are not finite"),
    (value(-np.inf), f"/{STEM}/0 holds values that are not finite"),
    (value(1e300), "stem/0 holds values too large for <f4"),
    (missing_array, "has no classifier/1, which tiny needs"),
    (missing_layer, "has no classifier/0, which tiny needs"),
    (surplus_layer, "has /layers/dense_2/0, which tiny does not have"),
    (surplus_variable_of_the_network, "has .*/0, which tiny does not have"),
    (other_shape, r"stem/0 is \(3, 3, 3, 5\), and tiny needs \(3, 3, 3, 4\)"),
    (same_size_in_another_shape, r"stem/0 is \(3, 3, 4, 3\), and tiny needs \(3, 3, 3, 4\)"),
]


@pytest.mark.parametrize("edit, message", EDITS, ids=[edit.__name__ for edit, _ in EDITS])
def test_edited_files_are_refused(network, path, edit, message):
    with h5py.File(path, "r+") as file:
        edit(file)
    assert_refused(network, path, message)


def external_link(file, outside):
    del file[STEM]["0"]
    file[STEM]["0"] = h5py.ExternalLink(outside, "/kernel")


def external_link_to_a_group(file, outside):
    del file["layers/conv2d"]
    file["layers/conv2d"] = h5py.ExternalLink(outside, "/group")


def external_storage(file, outside):
    with h5py.File(outside) as other:
        where = other["kernel"].id.get_offset()
    os.utime(outside, (0, outside.stat().st_mtime))
    put(file, shape=(3, 3, 3, 4), dtype="float32", external=[(str(outside), where, 432)])


def virtual(file, outside):
    virtual_layout = h5py.VirtualLayout((3, 3, 3, 4), "float32")
    virtual_layout[...] = h5py.VirtualSource(str(outside), "kernel", (3, 3, 3, 4))
    del file[STEM]["0"]
    file[STEM].create_virtual_dataset("0", virtual_layout)


@pytest.mark.parametrize(
    "edit, message",
    [
        (external_link, "is a link to somewhere else"),
        (external_link_to_a_group, "is a link to somewhere else"),
        (external_storage, "has its values in another file"),
        (virtual, "is virtual or in chunks"),
    ],
)
def test_no_other_file_is_read(network, path, outside, edit, message):
    with h5py.File(path, "r+") as file:
        edit(file, outside)
    assert_refused(network, path, message)
    with pytest.raises(CifarZooError, match=message):
        stored_layout(path)
    assert not any((weight == CANARY).any() for weight in network.get_weights())
    assert outside.stat().st_atime == 0
    outside.read_bytes()
    if outside.stat().st_atime == 0:
        pytest.skip("this file system does not note when a file is read")


def test_the_reader_can_open_no_file(tmp_path):
    """Not even one that slips through the checks."""
    pytest.importorskip("resource")
    code = "from cifar_zoo.weights import reader; reader._restrict(0); open('/etc/hostname')"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert "Too many open files" in run.stderr


def rewrite(path, source, **options):
    with h5py.File(source) as old, h5py.File(path, "w", **options) as new:
        for name in old:
            old.copy(name, new)


def test_userblock(network, path, good):
    rewrite(path, good, userblock_size=512)
    assert_refused(network, path, "its signature is missing")


@pytest.mark.parametrize(
    "content", [b"", b"\x89HDF\r\n\x1a\n", b"PK\x03\x04", b"\x80\x04.", b"\x89HDF\r\n\x1a\n" * 999]
)
def test_what_is_not_hdf5(network, path, content):
    path.write_bytes(content)
    assert_refused(network, path, "not a whole HDF5 file")


@pytest.mark.parametrize("part", [0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 1])
def test_truncated(network, path, part):
    content = path.read_bytes()
    path.write_bytes(content[: min(int(part * len(content)), len(content) - 1)])
    assert_refused(network, path, "not a whole HDF5 file")


@pytest.mark.full
def test_truncated_at_any_length(path):
    content = path.read_bytes()
    for size in [*range(0, 64, 8), *range(64, len(content), len(content) // 100)]:
        path.write_bytes(content[:size])
        with pytest.raises(CifarZooError, match="not a whole HDF5 file"):
            stored_layout(path)


@pytest.mark.full
def test_a_file_over_which_hdf5_loops_for_ever(network, path):
    content = bytearray(path.read_bytes())
    at = content.index(b"GCOL") + 16  # the heap of the names: 16 bytes of header, then its objects
    while int.from_bytes(content[at : at + 2], "little"):  # the object of number 0 is the free space
        at += 16 + -(-int.from_bytes(content[at + 8 : at + 16], "little") // 8) * 8
    content[at + 8 : at + 16] = bytes(8)  # its size: the next object is this one again
    path.write_bytes(content)
    assert_refused(network, path, "not a whole HDF5 file")


def test_paths_that_are_no_files(network, tmp_path):
    folder, pipe, zeros, null, nothing, loop = (
        tmp_path / f"{name}.weights.h5" for name in ("folder", "pipe", "zeros", "null", "nothing", "loop")
    )
    folder.mkdir()
    os.mkfifo(pipe)
    zeros.symlink_to("/dev/zero")
    null.symlink_to("/dev/null")
    nothing.symlink_to(tmp_path / "absent")
    loop.symlink_to(loop)
    for path in (folder, pipe, zeros, null, nothing, loop):
        assert_refused(network, path, "there is no weights file")
    with pytest.raises(CifarZooError, match="there is no weights file"):
        load_weights(network, f"{tmp_path}/\0.weights.h5")
    assert_refused(network, tmp_path / f"{'n' * 300}.weights.h5", "there is no weights file .* .File name too long")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_files_without_permission(network, path):
    path.chmod(0)
    assert_refused(network, path, "there is no weights file .* .Permission denied")


def test_harmless_differences_load(network, path, good):
    """Another version of the format, an empty group, unread attributes, another order of bytes."""
    rewrite(path, good, libver="latest")
    with h5py.File(path, "r+", libver="latest") as file:
        file.create_group("layers/dropout/vars")
        for number in range(2000):
            file[STEM].attrs[f"note{number}"] = number
        put(file, data=np.full((3, 3, 3, 4), 0.5, ">f8"))
    before = network.get_weights()
    load_weights(network, path)
    np.testing.assert_array_equal(network.get_layer("stem").kernel, np.full((3, 3, 3, 4), 0.5))
    network.set_weights(before)


def test_files_of_plain_keras_load(network, tmp_path):
    keras.utils.set_random_seed(3)
    other = make_network()
    other.save_weights(tmp_path / "plain.weights.h5")
    before = network.get_weights()
    load_weights(network, tmp_path / "plain.weights.h5")
    for ours, theirs in zip(network.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert stored_layout(tmp_path / "plain.weights.h5") == layout(network)
    network.set_weights(before)


def test_bfloat16_networks_load(tmp_path):
    """Which HDF5 has no number format for."""
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, dtype="bfloat16", bias_initializer="ones")])
    kernel = np.array([[0.5, -3, 2.0**100]] * 4, "float32")
    network.layers[0].kernel.assign(kernel)
    network.save_weights(tmp_path / "plain.weights.h5")
    save_weights(network, tmp_path / "ours.weights.h5")
    for name in ("plain", "ours"):
        network.layers[0].kernel.assign(np.zeros((4, 3)))
        load_weights(network, tmp_path / f"{name}.weights.h5")
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(network.layers[0].kernel).astype("float32"), kernel)


def test_layers_are_found_by_name_in_any_order(network, path):
    """Keras goes by the number of the group, which another order of the same layers would change."""
    with h5py.File(path, "r+") as file:
        file.move("layers/dense_1", "layers/dense_7")
        kernel = file["layers/dense_7/vars/0"][()]
    before = network.get_weights()
    load_weights(network, path)
    np.testing.assert_array_equal(network.get_layer("classifier").kernel, kernel.astype("float32"))
    network.set_weights(before)


def bombs(folder, good):
    """Files that ask for terabytes, and one that really is 4 GB long, most of it a hole."""
    for edit in (huge_shape, huge_chunks, huge_chunk_of_a_small_array, no_storage, empty_dimension):
        path = folder / f"{edit.__name__}.weights.h5"
        path.write_bytes(good.read_bytes())
        with h5py.File(path, "r+") as file:
            edit(file)
        yield path
    path = folder / "hole.weights.h5"
    path.write_bytes(good.read_bytes())
    with h5py.File(path, "r+") as file:
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        del file[STEM]["0"]
        space = h5py.h5s.create_simple((2**30,))
        h5py.h5d.create(file[STEM].id, b"0", h5py.h5t.IEEE_F32LE, space, properties)
    yield path


MEASURE = """
import resource, sys
from tests.weights.test_hostile_files import CifarZooError, load_weights, make_network
network, paths = make_network(), sys.argv[1:]
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
load_weights(network, paths[0])
before = peak()
for path in paths[1:]:
    try:
        load_weights(network, path)
    except CifarZooError:
        print(path, peak() - before)
    else:
        raise SystemExit(f"{path} was loaded")
"""

MEASURE_READER = """
import resource, subprocess, sys
with open(sys.argv[2], "rb") as file:
    subprocess.run([sys.executable, sys.argv[1], "100000"], stdin=file, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@pytest.mark.full
def test_memory_and_time_are_bounded(good, tmp_path):
    """The peak of either process is that of a good file, to 50 MB."""
    pytest.importorskip("resource")
    paths = [good, *bombs(tmp_path, good)]
    unit = 1 if sys.platform == "darwin" else 1024

    def measure(code, *arguments):
        run = subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=ROOT,
        )
        assert run.returncode == 0, run.stderr
        return run.stdout.splitlines()

    growth = [int(line.split()[-1]) * unit for line in measure(MEASURE, *paths)]
    assert len(growth) == len(paths) - 1
    assert max(growth) < 50e6
    peaks = [int(measure(MEASURE_READER, reader.__file__, path)[0]) * unit for path in paths]
    assert max(peaks) - peaks[0] < 50e6


@pytest.mark.full
def test_too_many_objects(path):
    with h5py.File(path, "r+", libver="latest") as file:
        group = file.create_group("layers/many")
        for number in range(reader.MOST_OBJECTS):
            group.create_group(str(number))
    start = time.monotonic()
    with pytest.raises(CifarZooError, match="holds more than 50000 objects"):
        stored_layout(path)
    assert time.monotonic() - start < 30


def test_the_reader_says_what_it_found(good):
    """What is between the two processes: a line of JSON and the bare values."""
    with good.open("rb") as file:
        command = [sys.executable, reader.__file__, "100000"]
        output = subprocess.run(command, stdin=file, capture_output=True, check=True).stdout
    line, values = output.split(b"\n", 1)
    reply = json.loads(line)
    found = {f"{array[0]}/vars/{array[2]}": (tuple(array[3]), array[4]) for array in reply["arrays"]}
    stored = {}
    with h5py.File(good) as file:
        file.visititems(lambda name, item: stored.update({f"/{name}": item[()]}) if hasattr(item, "shape") else None)
    assert found == {name: (value.shape, value.dtype.str) for name, value in stored.items()}
    assert values == b"".join(stored[name].tobytes() for name in found)
    assert all(re.fullmatch(r"<f2", dtype) and math.prod(shape) for shape, dtype in found.values())


def test_a_file_for_very_many_classes_builds_no_network(tmp_path):
    file = tmp_path / "many.weights.h5"
    save_weights(cifar_zoo.create_model("nin0", classes=100_001), file)
    with pytest.raises(CifarZooError, match="is for 100,001 classes; at most 100,000 are allowed"):
        cifar_zoo.create_model("nin0", weights=str(file))
