"""Weights files: float16 .weights.h5, which plain Keras reads too, checked before anything is loaded."""

from __future__ import annotations

import io
import json
import math
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import keras
import numpy as np

from cifar_zoo.errors import CifarZooError
from cifar_zoo.files import write_atomically
from cifar_zoo.weights.reader import Array, find_arrays, read_array

Layout = dict[str, tuple[int, ...]]


class Stored(NamedTuple):
    """What a weights file holds: its arrays by name, and their values, which are absent where there are too many."""

    arrays: dict[str, Array]
    values: dict[str, np.ndarray]

    @property
    def layout(self) -> Layout:
        return {name: array.shape for name, array in self.arrays.items()}


def save_weights(model: keras.Model, path: str | Path) -> None:
    """Write the weights of a network as float16. `model.load_weights` of plain Keras reads the file.

    Args:
        model: `keras.Model`. Only the weights of its layers are written, not the state of an optimizer.
        path: name of the file, which must end in .weights.h5.

    Raises:
        CifarZooError: if a weight is not finite, the network is not built, or the file has another name. Nothing is
            written then.
        OSError: if the file cannot be written. An older file of that name is unchanged then.
    """
    _check_name(path)
    # HDF5's library may crash when it finds the disk full, so the content is made in memory.
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        for group, (layer, variables) in _groups(model).items():
            stored = file.create_group(f"{group}/vars")
            stored.attrs["name"] = layer.name
            for name, value in variables.items():
                stored[name] = _half(_to_numpy(value), f"{layer.name}/{name}")
    write_atomically(Path(path), lambda temporary: temporary.write_bytes(content.getbuffer()))


def _to_numpy(value: Any) -> np.ndarray:
    """The value of a variable, as float32 where NumPy and HDF5 do not have its type."""
    array = np.asarray(keras.ops.convert_to_numpy(value))
    return array.astype("float32") if array.dtype.kind == "V" else array  # bfloat16


def _half(value: np.ndarray, name: str) -> np.ndarray:
    """Floats as float16, or unchanged where one of them is too large for it; integers unchanged."""
    if value.dtype.kind != "f":
        return value
    if not np.isfinite(value).all():
        raise CifarZooError(f"{name} holds values that are not finite; if a training diverged, lower its learning rate")
    with np.errstate(over="ignore"):
        half = value.astype("float16")
    return half if np.isfinite(half).all() else value


def round_to_half(model: keras.Model) -> None:
    """Round the weights of a network to the values that a float16 file will hold."""
    for variable in model.variables:
        value = keras.ops.convert_to_numpy(variable)
        if value.dtype.kind == "f":
            variable.assign(_half(value, variable.path).astype(value.dtype))


def load_weights(model: keras.Model, path: str | Path) -> None:
    """Load a weights file whose layers are exactly those of the network.

    Args:
        model: `keras.Model`.
        path: of a .weights.h5 file of `save_weights` or of plain Keras. Nobody needs to vouch for it: it is read by
            a process of its own, and nothing but numbers is taken from it.

    Raises:
        CifarZooError: if the file is absent, damaged or holds something else than numbers, or if a layer is missing,
            unknown, of another shape or not finite. The network keeps its weights then.
    """
    assign(model, read_file(path, most_bytes(model)), path)


def most_bytes(model: keras.Model) -> int:
    """The size of a network's weights, if each number took 8 bytes: no file for it needs more memory."""
    return 8 * sum(math.prod(shape) for shape in layout(model).values())


def assign(model: keras.Model, stored: Stored, path: str | Path) -> None:
    """Give the weights of a network the values of a file.

    Args:
        model: `keras.Model`.
        stored: content of the file.
        path: name of the file, for error messages.

    Raises:
        CifarZooError: if the arrays are not exactly those of the network. The network keeps its weights then.
    """
    groups = _groups(model)
    needed = _needed(groups)
    _compare(stored.arrays, needed, model.name, path)
    values: dict[str, dict[str, np.ndarray]] = {group: {} for group in groups}
    for name, array in needed.items():
        with np.errstate(over="ignore"):
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
            raise CifarZooError(f"{path}: has {name}, which {network} has not")
        ours, theirs = needed[name], found[name]
        if theirs.shape != ours.shape:
            raise CifarZooError(f"{path}: {name} is {theirs.shape}, and {network} needs {ours.shape}")
        if np.dtype(theirs.dtype).kind != np.dtype(ours.dtype).kind:
            raise CifarZooError(f"{path}: {name} is of dtype {theirs.dtype}, and {network} needs {ours.dtype}")


def _check_name(path: str | Path) -> None:
    if not str(path).endswith(".weights.h5"):  # Keras goes by the name, and takes others for files of another form
        raise CifarZooError(f"the name of a weights file must end in .weights.h5; {str(path)!r} does not")


def stored_layout(path: str | Path) -> Layout:
    """The shapes of the arrays in a weights file, by the names of their layers: {"stem_conv/0": (3, 3, 3, 16), ...}.

    Keras numbers the groups of a file by the class of the layer ("layers/conv2d_1") and keeps the name of the layer as
    an attribute. Names that Keras has generated differ from one network to the next. They are replaced by the name of
    the group, and so is a name that two layers have.

    Raises:
        CifarZooError: if the file is absent, damaged or holds something else than numbers.
    """
    return read_file(path, 0).layout


def layout(model: keras.Model) -> Layout:
    """What `stored_layout` returns for a weights file of this network."""
    return {name: array.shape for name, array in _needed(_groups(model)).items()}


def _by_name(arrays: list[Array]) -> dict[str, Array]:
    owners = Counter(layer for _, layer in {(array.group, array.layer) for array in arrays})

    def name(array: Array) -> str:
        kind = re.sub(r"_\d+$", "", array.group.rpartition("/")[2])
        made_up = not array.layer or re.fullmatch(rf"{re.escape(kind)}(_\d+)?", array.layer)
        return f"{array.group if made_up or owners[array.layer] > 1 else array.layer}/{array.name}"

    return {name(array): array for array in arrays}


def read_file(path: str | Path, most: int) -> Stored:
    """Read a weights file that nobody vouches for, in a process that it can do no harm to.

    Args:
        path: of the file.
        most: the values are read only if they take no more bytes than this.

    Raises:
        CifarZooError: if the file is absent, damaged or holds something else than numbers.
    """
    _check_name(path)
    with tempfile.TemporaryDirectory() as folder:
        values = Path(folder) / "values"
        arrays = _run_reader(Path(path), most, values)
        found: dict[str, np.ndarray] = {}
        with values.open("rb") as stream:
            if values.stat().st_size:
                for name, array in _by_name(arrays).items():
                    found[name] = np.fromfile(stream, array.dtype, math.prod(array.shape)).reshape(array.shape)
    return Stored(_by_name(arrays), found)


def read_verified(content: bytes) -> Stored:
    """Read the content of a weights file whose hash has been verified."""
    with h5py.File(io.BytesIO(content)) as file:
        found = find_arrays(file)
        values = {array: read_array(stored, array) for array, stored in found}
    arrays = _by_name(list(values))
    return Stored(arrays, {name: values[array] for name, array in arrays.items()})


def _run_reader(path: Path, most: int, values: Path) -> list[Array]:
    """Run reader.py on a file, and return the arrays that it found."""
    try:
        if not path.is_file():  # a folder, a pipe or a device is none
            raise CifarZooError(f"there is no weights file {str(path)!r}")
        with path.open("rb") as file:
            if file.read(8) != b"\x89HDF\r\n\x1a\n":  # HDF5's library would search the rest of the file for it
                raise CifarZooError(f"{path}: not a whole HDF5 file (it begins with something else)")
            reader = subprocess.run(
                [sys.executable, "-P", str(Path(__file__).with_name("reader.py")), str(most), str(values)],
                stdin=file,
                capture_output=True,
                timeout=600,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OPENBLAS_NUM_THREADS": "1"},
            )
    except OSError as error:
        raise CifarZooError(f"{path}: cannot be read ({error.strerror or error})") from error
    except subprocess.TimeoutExpired as error:
        raise CifarZooError(f"{path}: not a whole HDF5 file (reading it does not end)") from error
    if reader.returncode:
        reason = reader.stderr.decode(errors="replace").strip().splitlines()[-1:] or [f"code {reader.returncode}"]
        raise CifarZooError(f"{path}: not a whole HDF5 file (reading it broke off with {reason[0]!r})")
    reply = json.loads(reader.stdout)
    if "error" in reply:
        raise CifarZooError(f"{path}: {reply['error']}")
    return [Array(group, layer, name, tuple(shape), dtype) for group, layer, name, shape, dtype in reply["arrays"]]


# The names under which Keras stores the weights of a network follow from the layers and their attributes.

_Groups = dict[str, tuple[keras.layers.Layer, dict[str, Any]]]  # group -> its layer, and the layer's own variables


def _groups(model: keras.Model) -> _Groups:
    """The groups of the file that `model.save_weights` of plain Keras writes, without an optimizer's."""
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
    """The layers in a layer, a list or a dict, each once, with the paths of their groups."""
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
    """The attributes of a layer that may hold other layers, in the order of Keras."""
    functional = isinstance(layer, keras.Sequential) or hasattr(layer, "operations")
    if functional:
        yield "layers", layer.layers
    ours = set(dir(layer)) - _common_attributes()
    if functional:  # the same layers under other names
        ours -= {"operations", "_operations", "_functional", "_self_unconditional_dependency_names"}
    for name in sorted(ours, key=lambda name: (name.startswith("_"), name)):
        try:
            value = getattr(layer, name)
        except Exception:  # a property without a value yet raises whatever it likes
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
    """The type of a variable's values in NumPy, float32 for bfloat16."""
    name = keras.backend.standardize_dtype(value.dtype)
    return np.dtype("float32" if name == "bfloat16" else name).str
