"""Weights files: float16 .weights.h5, which plain Keras reads too, checked before anything is loaded."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import h5py
import keras
import numpy as np

from cifar_zoo.errors import CifarZooError
from cifar_zoo.files import write_whole

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
        CifarZooError: if the file is absent or damaged, or a layer is missing, surplus or of another shape. The network
            keeps its weights then.
    """
    found, expected = stored_layout(path), layout(model)
    for name in sorted(expected.keys() | found.keys()):
        if name not in found:
            raise CifarZooError(f"{path}: has no {name}, which {model.name} needs")
        if name not in expected:
            raise CifarZooError(f"{path}: has {name}, which {model.name} has not")
        if found[name] != expected[name]:
            raise CifarZooError(f"{path}: {name} is {found[name]}, and {model.name} needs {expected[name]}")
    model.load_weights(path)


def _check_name(path: str | Path) -> None:
    if not str(path).endswith(".weights.h5"):  # Keras goes by the name, and takes others for files of another form
        raise CifarZooError(f"the name of a weights file must end in .weights.h5; {str(path)!r} does not")


def stored_layout(path: str | Path) -> Layout:
    """The shapes of the arrays in a weights file, by the names of their layers: {"stem_conv/0": (3, 3, 3, 16), ...}.

    Keras numbers the groups of a file by the class of the layer ("layers/conv2d_1") and keeps the layer's own name as
    an attribute. Names that Keras has made up differ from one network to the next; for these the group stands.
    """
    shapes: Layout = {}

    def note(name: str, item: h5py.HLObject) -> None:
        if isinstance(item, h5py.Dataset):
            group = item.parent.name.removesuffix("/vars")
            kind = re.sub(r"_\d+$", "", Path(group).name)
            layer = str(item.parent.attrs.get("name", group))
            made_up = re.fullmatch(rf"{re.escape(kind)}(_\d+)?", layer)
            shapes[f"{group if made_up else layer}/{Path(name).name}"] = item.shape

    _check_name(path)
    if not Path(path).is_file():
        raise CifarZooError(f"there is no weights file {str(path)!r}")
    try:
        with h5py.File(path) as file:
            file.visititems(note)
    except (OSError, RuntimeError, KeyError) as error:
        raise CifarZooError(f"{path}: not a whole HDF5 file ({error})") from error
    return shapes


def layout(model: keras.Model) -> Layout:
    """What `stored_layout` gives for a weights file of this network."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "layout.weights.h5"
        model.save_weights(path)
        return stored_layout(path)


def stored_classes(path: str | Path) -> int | None:
    """The number of classes of the classifier in a weights file; None for a file without one."""
    kernel = stored_layout(path).get("classifier/0")
    return kernel[-1] if kernel else None
