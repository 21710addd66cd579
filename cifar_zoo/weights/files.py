"""Weights files: .weights.h5 in float16, which plain Keras can load as well, verified before loading."""

from __future__ import annotations

import io
import json
import math
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import keras
import numpy as np

from cifar_zoo.backend.values import to_numpy
from cifar_zoo.errors import CifarZooError
from cifar_zoo.files import open_regular, write_atomically
from cifar_zoo.weights.reader import Array, find_arrays, read_array

Layout = dict[str, tuple[int, ...]]


class Stored(NamedTuple):
    """The contents of a weights file: its arrays by name, and their values unless they exceed a size limit."""

    arrays: dict[str, Array]
    values: dict[str, np.ndarray]

    @property
    def layout(self) -> Layout:
        return {name: array.shape for name, array in self.arrays.items()}


def save_weights(model: keras.Model, path: str | Path) -> None:
    """Save the weights of a network as float16. The file can be loaded by `model.load_weights` of plain Keras.

    Args:
        model: `keras.Model`. Only the weights of its layers are saved, not the state of an optimizer.
        path: Path of the file, which must end in .weights.h5.

    Raises:
        CifarZooError: If a weight is not finite, the network is not built, or the path has another ending. Nothing is
            written in this case.
        OSError: If the file cannot be written. An existing file at the path is unchanged in this case.
    """
    _check_name(path)
    # The HDF5 library may crash on a full disk, so the content is created in memory.
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        for group, (layer, variables) in _groups(model).items():
            stored = file.create_group(f"{group}/vars")
            stored.attrs["name"] = layer.name
            for name, value in variables.items():
                stored[name] = _half(_to_numpy(value), f"{layer.name}/{name}")
    write_atomically(Path(path), lambda temporary: temporary.write_bytes(content.getbuffer()))


def _to_numpy(value: Any) -> np.ndarray:
    """Return the value of a variable, as float32 if NumPy and HDF5 do not support its dtype."""
    array = np.asarray(to_numpy(value))
    return array.astype("float32") if array.dtype.kind == "V" else array  # bfloat16


def _half(value: np.ndarray, name: str) -> np.ndarray:
    """Convert floats to float16, unless one of them is too large. Integers are returned unchanged."""
    if value.dtype.kind != "f":
        return value
    if not np.isfinite(value).all():
        raise CifarZooError(f"{name} holds values that are not finite; if a training diverged, lower its learning rate")
    with np.errstate(over="ignore", under="ignore"):
        half = value.astype("float16")
    return half if np.isfinite(half).all() else value


def round_to_half(model: keras.Model) -> None:
    """Round the weights of a network to the values that `save_weights` saves."""
    for variable in model.variables:
        value = to_numpy(variable)
        if value.dtype.kind == "f":
            variable.assign(_half(value, variable.path).astype(value.dtype))


def load_weights(model: keras.Model, path: str | Path) -> None:
    """Load a weights file into a network with exactly the same layers.

    Args:
        model: `keras.Model`.
        path: Path of a .weights.h5 file of `save_weights` or of plain Keras. The file may be untrusted: it is read in a
            separate process, and only numbers are taken from it.

    Raises:
        CifarZooError: If the file is missing, damaged or contains anything but numbers, or if a layer is missing,
            unexpected, of another shape or not finite. The network keeps its weights in this case.
    """
    assign(model, read_file(path, most_bytes(model)), path)


def most_bytes(model: keras.Model) -> int:
    """Return an upper bound in bytes for the size of a network's weights in a file, 8 bytes for each number."""
    return 8 * sum(math.prod(shape) for shape in layout(model).values())


def assign(model: keras.Model, stored: Stored, path: str | Path) -> None:
    """Assign the values of a weights file to the weights of a network.

    Args:
        model: `keras.Model`.
        stored: `Stored`, the contents of the file.
        path: Path of the file, for error messages.

    Raises:
        CifarZooError: If the arrays are not exactly those of the network. The network keeps its weights in this case.
    """
    groups = _groups(model)
    needed = _needed(groups)
    _compare(stored.arrays, needed, model.name, path)
    values: dict[str, dict[str, np.ndarray]] = {group: {} for group in groups}
    for name, array in needed.items():
        with np.errstate(over="ignore", under="ignore"):
            value = stored.values[name].astype(array.dtype)
        if not np.isfinite(value).all():
            raise CifarZooError(f"{path}: {name} holds values too large for {array.dtype}")
        values[array.group][array.name] = value
    for group, (layer, variables) in groups.items():
        if variables:
            layer.load_own_variables(values[group])


def _compare(found: dict[str, Array], needed: dict[str, Array], network: str, path: str | Path) -> None:
    for name in sorted(needed.keys() | found.keys()):
        if name not in found:
            raise CifarZooError(f"{path}: has no {name}, which {network} needs")
        if name not in needed:
            raise CifarZooError(f"{path}: has {name}, which {network} does not have")
        ours, theirs = needed[name], found[name]
        if theirs.shape != ours.shape:
            raise CifarZooError(f"{path}: {name} is {theirs.shape}, and {network} needs {ours.shape}")
        if np.dtype(theirs.dtype).kind != np.dtype(ours.dtype).kind:
            raise CifarZooError(f"{path}: {name} is of dtype {theirs.dtype}, and {network} needs {ours.dtype}")


def _check_name(path: str | Path) -> None:
    if not str(path).endswith(".weights.h5"):  # Keras chooses the file format by the ending
        raise CifarZooError(f"the name of a weights file must end in .weights.h5; {str(path)!r} does not")


def stored_layout(path: str | Path) -> Layout:
    """Return the shapes of the arrays in a weights file, by layer name: `{"stem_conv/0": (3, 3, 3, 16), ...}`.

    Keras names the groups of a file after the class of the layer ("layers/conv2d_1") and stores the name of the layer
    as an attribute. Generated layer names differ between networks, so the name of the group is used instead. The same
    applies to a name that two layers share.

    Raises:
        CifarZooError: If the file is missing, damaged or contains anything but numbers.
    """
    return read_file(path, 0).layout


def layout(model: keras.Model) -> Layout:
    """Return the value of `stored_layout` for a weights file of this network."""
    return {name: array.shape for name, array in _needed(_groups(model)).items()}


def _by_name(arrays: list[Array]) -> dict[str, Array]:
    owners = Counter(layer for _, layer in {(array.group, array.layer) for array in arrays})

    def name(array: Array) -> str:
        kind = re.sub(r"_\d+$", "", array.group.rpartition("/")[2])
        made_up = not array.layer or re.fullmatch(rf"{re.escape(kind)}(_\d+)?", array.layer)
        return f"{array.group if made_up or owners[array.layer] > 1 else array.layer}/{array.name}"

    return {name(array): array for array in arrays}


def read_file(path: str | Path, most: int) -> Stored:
    """Read an untrusted weights file in a separate, restricted process.

    Args:
        path: Path of the file.
        most: Integer. Size limit in bytes, above which the values are not read.

    Returns: A `Stored`, the contents of the file.

    Raises:
        CifarZooError: If the file is missing, damaged or contains anything but numbers.
    """
    _check_name(path)
    arrays, content = _run_reader(Path(path), most)
    found: dict[str, np.ndarray] = {}
    if content:
        for name, array in _by_name(arrays).items():
            size = math.prod(array.shape) * np.dtype(array.dtype).itemsize
            found[name] = np.frombuffer(content[:size], array.dtype).reshape(array.shape)
            content = content[size:]
    return Stored(_by_name(arrays), found)


def read_verified(content: bytes) -> Stored:
    """Read the content of a weights file whose hash has been verified, in this process."""
    with h5py.File(io.BytesIO(content)) as file:
        found = find_arrays(file)
        values = {array: read_array(stored, array) for array, stored in found}
    arrays = _by_name(list(values))
    return Stored(arrays, {name: values[array] for name, array in arrays.items()})


# What a Python runs that can import the standard library and the named packages, and nothing else: neither the module
# that lies in the working directory under the name of one of the library's, nor what is beside the packages.
_START = """
import importlib.util, runpy, sys
for name, file in (argument.split("=", 1) for argument in sys.argv[3:]):
    spec = importlib.util.spec_from_file_location(name, file)
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])
reader, sys.argv = sys.argv[1], sys.argv[1:3]
runpy.run_path(reader, run_name="__main__")
"""


def _run_reader(path: Path, most: int) -> tuple[list[Array], memoryview]:
    """Run reader.py on a file, which is opened once, and return the arrays that it finds and their values.

    No temporary file is needed, so a full disk does no harm.
    """
    if not sys.executable:  # of a program that Python is embedded in
        raise CifarZooError(f"{path}: is read by a Python process of its own; set sys.executable to the path of Python")
    try:
        file = open_regular(path)
    except OSError as error:
        raise CifarZooError(f"there is no weights file {str(path)!r} that can be read ({error.strerror})") from error
    with file:
        if file.read(8) != b"\x89HDF\r\n\x1a\n":  # the HDF5 library would search the rest of the file for it
            raise CifarZooError(f"{path}: not a whole HDF5 file (its signature is missing)")
        packages = [f"{package.__name__}={package.__file__}" for package in (np, h5py)]
        script = str(Path(__file__).with_name("reader.py"))
        try:
            reader = subprocess.run(
                [sys.executable, "-I", "-S", "-c", _START, script, str(most), *packages],
                stdin=file,
                capture_output=True,
                timeout=600,
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            )
        except OSError as error:
            raise CifarZooError(
                f"{path}: is read by a Python process of its own, and {sys.executable!r} cannot be started "
                f"({error.strerror}); set sys.executable to the path of Python"
            ) from error
        except subprocess.TimeoutExpired as error:
            raise CifarZooError(f"{path}: not a whole HDF5 file (reading it timed out)") from error
    if reader.returncode:
        reason = reader.stderr.decode(errors="replace").strip().splitlines()[-1:] or [f"code {reader.returncode}"]
        raise CifarZooError(f"{path}: not a whole HDF5 file (reading it failed with {reason[0]!r})")
    end = reader.stdout.index(b"\n") + 1
    reply = json.loads(reader.stdout[:end])
    if "error" in reply:
        raise CifarZooError(f"{path}: {reply['error']}")
    arrays = [Array(group, layer, name, tuple(shape), dtype) for group, layer, name, shape, dtype in reply["arrays"]]
    return arrays, memoryview(reader.stdout)[end:]


# Keras derives the names of the groups in a weights file from the layers of a network and their attributes.

_Groups = dict[str, tuple[keras.layers.Layer, dict[str, Any]]]  # group -> layer and the variables of this layer


def _groups(model: keras.Model) -> _Groups:
    """Return the groups of the file that Keras' `model.save_weights` writes, without those of the optimizer."""
    if not model.built:
        raise CifarZooError(f"{model.name} has no weights yet; build it, or call it on an image first")
    groups: _Groups = {}
    for path, layer in _layers(model, "", set()):
        variables: dict[str, Any] = {}
        layer.save_own_variables(variables)
        groups[path] = layer, variables
    found = {id(value) for _, variables in groups.values() for value in variables.values()}
    if lost := [weight.path for weight in model.weights if id(weight) not in found]:
        raise CifarZooError(f"{model.name}: {', '.join(lost)} belongs to no layer that Keras would save")
    return groups


def _layers(value: Any, path: str, seen: set[int]) -> Iterator[tuple[str, keras.layers.Layer]]:
    """Yield each layer in a layer, a list or a dict once, with the path of its group."""
    if id(value) in seen:
        return
    if isinstance(value, keras.layers.Layer):
        seen.add(id(value))
        yield path, value
        for name, inner in _attributes(value):
            yield from _layers(inner, f"{path}/{name}", seen)
    elif isinstance(value, (list, tuple, dict)):
        seen.add(id(value))
        used: Counter[str] = Counter()
        for item in list(value.values() if isinstance(value, dict) else value):
            if isinstance(item, (keras.layers.Layer, list, tuple, dict)):
                kind = _snake_case(type(item).__name__) if isinstance(item, keras.layers.Layer) else "container"
                yield from _layers(item, f"{path}/{kind}_{used[kind]}" if used[kind] else f"{path}/{kind}", seen)
                used[kind] += 1


def _attributes(layer: keras.layers.Layer) -> Iterator[tuple[str, Any]]:
    """Yield the attributes of a layer that may contain other layers, in the order in which Keras visits them."""
    functional = isinstance(layer, keras.Sequential) or hasattr(layer, "operations")
    if functional:
        yield "layers", layer.layers
    ours = set(dir(layer)) - _common_attributes()
    if functional:  # the same layers under other names
        ours -= {"operations", "_operations", "_functional", "_self_unconditional_dependency_names"}
    for name in sorted(ours, key=lambda name: (name.startswith("_"), name)):
        try:
            value = getattr(layer, name)
        except Exception:  # a property that has no value yet may raise any exception
            continue
        yield name, value


@cache
def _common_attributes() -> frozenset[str]:
    return frozenset(dir(keras.layers.Layer()))


def _snake_case(name: str) -> str:
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def _needed(groups: _Groups) -> dict[str, Array]:
    return _by_name(
        [
            Array(group, layer.name, name, tuple(value.shape), _dtype(value))
            for group, (layer, variables) in groups.items()
            for name, value in variables.items()
        ]
    )


def _dtype(value: Any) -> str:
    """Return the NumPy dtype of a variable, float32 for bfloat16."""
    name = keras.backend.standardize_dtype(value.dtype)
    return np.dtype("float32" if name == "bfloat16" else name).str
