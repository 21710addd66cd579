"""Weights files: float16 .weights.h5, which plain Keras reads too, checked before anything is loaded."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import h5py
import keras
import numpy as np

from cifar_zoo.errors import CifarZooError
from cifar_zoo.files import write_whole
from cifar_zoo.weights.reader import Array, find_arrays

Layout = dict[str, tuple[int, ...]]


def save_weights(model: keras.Model, path: str | Path) -> None:
    """Write a network's weights as float16; `model.load_weights` of plain Keras reads the file.

    Raises:
        CifarZooError: if a weight is not finite, or the name is not that of a weights file; nothing is written then.
    """
    _check_name(path)
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole.weights.h5"
        model.save_weights(whole)

        def write(file: Path) -> None:
            with h5py.File(whole) as source, h5py.File(file, "w") as target:
                _copy_as_half(source, target)

        write_whole(Path(path), write)


def _copy_as_half(source: h5py.Group, target: h5py.Group) -> None:
    for key, value in source.attrs.items():
        target.attrs[key] = value
    for name, item in source.items():
        if isinstance(item, h5py.Group):
            _copy_as_half(item, target.create_group(name))
        else:
            target[name] = _half(item[()], item.name)
            for key, value in item.attrs.items():
                target[name].attrs[key] = value


def _half(value: np.ndarray, name: str) -> np.ndarray:
    """Floats as float16, or as they are where one is too large for it; integers as they are."""
    if value.dtype.kind != "f":
        return value
    if not np.isfinite(value).all():
        raise CifarZooError(f"{name} holds values that are not finite; a training that diverged wants a lower rate")
    with np.errstate(over="ignore"):
        half = value.astype("float16")
    return half if np.isfinite(half).all() else value


def round_to_half(model: keras.Model) -> None:
    """Round a network's weights to what a float16 file will hold."""
    for variable in model.variables:
        value = keras.ops.convert_to_numpy(variable)
        if value.dtype.kind == "f":
            variable.assign(_half(value, variable.path).astype(value.dtype))


def load_weights(model: keras.Model, path: str | Path) -> None:
    """Load a weights file whose layers are exactly those of the network.

    Raises:
        CifarZooError: if the file is absent, damaged or not one of numbers only, or a layer is missing, surplus, of
            another shape or not finite. The network keeps its weights then.
    """
    with tempfile.TemporaryDirectory() as folder:
        # The checked values go into the network's own file, which Keras loads: nothing else of the given file is used.
        own, values = Path(folder) / "own.weights.h5", Path(folder) / "values"
        model.save_weights(own)
        with h5py.File(own, "r+") as file:
            needed = _by_name([array for array, _ in find_arrays(file)])
            size = sum(math.prod(array.shape) * 8 for array in needed.values())
            found = _by_name(_read(path, most=size, values=values))
            _compare(found, needed, model.name, path)
            with values.open("rb") as stream:
                for name, array in found.items():
                    dtype, group = needed[name].dtype, file[f"{needed[name].group}/vars"]
                    value = np.fromfile(stream, array.dtype, math.prod(array.shape)).reshape(array.shape)
                    with np.errstate(over="ignore"):
                        value = value.astype(dtype)
                    if not np.isfinite(value).all():
                        raise CifarZooError(f"{path}: {name} holds values too large for {dtype}")
                    del group[array.name]
                    group[array.name] = value
        model.load_weights(own)


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

    Keras numbers the groups of a file by the class of the layer ("layers/conv2d_1") and keeps the layer's own name as
    an attribute. Names that Keras has made up differ from one network to the next; for these the group stands, as it
    does for a name that two layers have.

    Raises:
        CifarZooError: if there is no such file, or it is not a whole one of numbers only.
    """
    return {name: array.shape for name, array in _by_name(_read(path)).items()}


def _by_name(arrays: list[Array]) -> dict[str, Array]:
    owners = Counter(layer for _, layer in {(array.group, array.layer) for array in arrays})

    def name(array: Array) -> str:
        kind = re.sub(r"_\d+$", "", array.group.rpartition("/")[2])
        made_up = not array.layer or re.fullmatch(rf"{re.escape(kind)}(_\d+)?", array.layer)
        return f"{array.group if made_up or owners[array.layer] > 1 else array.layer}/{array.name}"

    return {name(array): array for array in arrays}


def _read(path: str | Path, most: int = 0, values: str | Path = os.devnull) -> list[Array]:
    """The arrays of a weights file; their values go into another file if they are not more than so many bytes."""
    _check_name(path)
    try:
        if not Path(path).is_file():  # a folder, a pipe or a device is none
            raise CifarZooError(f"there is no weights file {str(path)!r}")
        with Path(path).open("rb") as file:
            if file.read(8) != b"\x89HDF\r\n\x1a\n":  # HDF5's library would look for this further on, too
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


def layout(model: keras.Model) -> Layout:
    """What `stored_layout` gives for a weights file of this network."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "layout.weights.h5"
        model.save_weights(path)
        with h5py.File(path) as file:
            return {name: array.shape for name, array in _by_name([a for a, _ in find_arrays(file)]).items()}
