"""Read an untrusted weights file. This module runs as a separate process with the file as its standard input.

A single flipped byte can make the HDF5 library crash, fill the memory or loop forever, which cannot be stopped from
within the same process. Here, a damaged file can only end this process, which cannot open any other file and whose
memory and time are limited.

Usage: python reader.py MOST < FILE. The first line of the standard output is {"error": reason} or {"arrays": [...]}.
The values of the arrays come after it, one after the other, unless they exceed MOST bytes.
"""

import contextlib
import json
import math
import sys
from typing import Any, NamedTuple

import h5py
import numpy as np

MOST_OBJECTS = 50_000  # the deepest networks have about 11,000
LONGEST_NAME = 500
MOST_MEMORY = 2**30  # bytes in addition to the values; h5py and NumPy alone use 0.2 GB of address space
MOST_SECONDS = 10  # of processor time; 0.2 are typical


class RefusedError(Exception):
    """The file contains something that Keras does not write."""


class Array(NamedTuple):
    """An array of a weights file: the path of its group, the name of its layer, its own name, shape and dtype."""

    group: str
    layer: str
    name: str
    shape: tuple[int, ...]
    dtype: str


def find_arrays(file: h5py.File) -> list[tuple[Array, h5py.Dataset]]:
    """Return all arrays of a weights file after checking them, without reading their values."""
    found: list[tuple[Array, h5py.Dataset]] = []
    seen = {file["/"]}
    groups = [file["/"]]
    while groups:
        group = groups.pop()
        if len(seen) + len(group) > MOST_OBJECTS:
            raise RefusedError(f"holds more than {MOST_OBJECTS} objects")
        layer = _checked_name(str(group.attrs.get("name", "")))
        if "/" in layer:
            raise RefusedError(f"holds a layer with the impossible name {layer!r}")
        for name in group:
            path = _checked_name(f"{group.name.rstrip('/')}/{name}")
            link = None if "/" in name else group.get(name, getlink=True)  # before opening, which follows the link
            if not isinstance(link, h5py.HardLink):
                raise RefusedError(f"{path} is a link to somewhere else")
            item = group[name]
            if item in seen:
                raise RefusedError(f"{path} is in the file under another name, too")
            seen.add(item)
            if isinstance(item, h5py.Group):
                groups.append(item)
            elif isinstance(item, h5py.Dataset):
                if not path.endswith(f"/vars/{name}"):
                    raise RefusedError(f"{path} is not where Keras keeps arrays, in a group 'vars'")
                dtype = _checked_dtype(path, item)
                found.append((Array(group.name.removesuffix("/vars"), layer, name, item.shape, dtype), item))
            else:
                raise RefusedError(f"{path} is neither a group nor an array")
    return found


def _checked_name(name: str) -> str:
    if len(name) > LONGEST_NAME or not name.isprintable():
        raise RefusedError(f"holds a name that is too long or not printable: {name[:80]!a}")
    return name


def _checked_dtype(path: str, array: h5py.Dataset) -> str:
    """Return the dtype of an array of numbers that is stored entirely in this file. Any other array is refused."""
    storage = array.id.get_create_plist()
    if storage.get_layout() not in (h5py.h5d.CONTIGUOUS, h5py.h5d.COMPACT):
        raise RefusedError(f"{path} is virtual or in chunks; Keras stores arrays in one piece")
    if storage.get_external_count():
        raise RefusedError(f"{path} has its values in another file")
    bfloat16 = (
        array.dtype == "V2" and array.attrs.get("dtype") == "bfloat16"
    )  # how Keras stores bfloat16, which HDF5 does not have
    if not bfloat16 and (array.dtype.kind not in "fiu" or array.dtype.itemsize > 8):
        raise RefusedError(f"{path} is of dtype {array.dtype.str}, which is not a dtype of weights")
    if array.shape is None or 0 in array.shape:
        raise RefusedError(f"{path} holds no values")
    declared, stored = math.prod(array.shape) * array.dtype.itemsize, array.id.get_storage_size()
    if declared != stored:
        raise RefusedError(f"{path} needs {declared} bytes for its shape {array.shape} and has {stored}")
    return np.dtype("float32" if bfloat16 else array.dtype.newbyteorder("=")).str


def read_array(stored: h5py.Dataset, array: Array) -> np.ndarray:
    """Return the values of a checked array."""
    value = np.asarray(stored[()])
    if value.dtype == "V2":  # bfloat16 is the upper half of float32
        value = (value.view("uint16").astype("uint32") << 16).view("float32")
    return value.astype(array.dtype)


def _read(file: h5py.File, most: int) -> tuple[list[Array], list[np.ndarray]]:
    """Return the arrays of a file, and their values unless they exceed `most` bytes."""
    found = find_arrays(file)
    size = sum(array.id.get_storage_size() for _, array in found)
    if size > file.id.get_filesize():
        raise RefusedError(f"has arrays of {size} bytes, more than the whole file")
    values = []
    for array, stored in found if size <= most else ():
        values.append(read_array(stored, array))
        if not np.isfinite(values[-1]).all():
            raise RefusedError(f"{stored.name} holds values that are not finite")
    return [array for array, _ in found], values


def _warm_up() -> None:
    """Use h5py and NumPy once, so that they import all their modules while this process can still open files."""
    with h5py.File("none", "w", driver="core", backing_store=False) as file:
        for dtype in ("float16", "S1"):
            file.create_dataset(f"vars/{dtype}", (1,), dtype)[()].tobytes()
        file["vars"].attrs["name"] = "none"
        str(file["vars"].attrs["name"])


def _restrict(most: int) -> None:
    """Limit the memory, time and open files of this process, if the system supports it."""
    with contextlib.suppress(ImportError):
        import resource

        for kind, bound in (
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_NOFILE, 0),
            (resource.RLIMIT_AS, MOST_MEMORY + 4 * most),
            (resource.RLIMIT_CPU, MOST_SECONDS + most // 10**7),
        ):
            hard = resource.getrlimit(kind)[1]
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(kind, (bound if hard == resource.RLIM_INFINITY else min(bound, hard), hard))


def main() -> None:
    """Read the file on standard input."""
    most = int(sys.argv[1])
    values: list[np.ndarray] = []
    with open(0, "rb") as source:
        _warm_up()
        _restrict(most)
        try:
            with h5py.File(source) as file:
                arrays, values = _read(file, most)
            reply: dict[str, Any] = {"arrays": arrays}
        except RefusedError as error:
            reply = {"error": str(error)}
        except Exception as error:  # h5py raises many types for damaged files
            reply = {"error": f"not a whole HDF5 file ({error!r:.300})"}
        print(json.dumps(reply), flush=True)
        for value in values:
            sys.stdout.buffer.write(value.tobytes())
        sys.stdout.flush()


if __name__ == "__main__":
    main()
