"""Arrays of .npz files that may hold anything."""

from __future__ import annotations

import io
import zipfile

import numpy as np

HEADER = 4096  # bytes that NumPy's header of an array can need


def array_names(archive: zipfile.ZipFile) -> list[str]:
    """Return the names of the arrays in an .npz file."""
    return [name.removesuffix(".npy") for name in archive.namelist()]


def read_array(archive: zipfile.ZipFile, name: str, most: int) -> np.ndarray:
    """Read an array of an .npz file, unless it would unpack to more than its reader can need.

    Args:
        archive: The open file.
        name: Name of the array.
        most: Integer. The largest number of bytes of the array.

    Raises:
        ValueError: If the array is larger, holds Python objects, or is compressed as NumPy compresses none. Damaged
            files raise errors of many other types.
    """
    info = archive.getinfo(f"{name}.npy")
    if info.file_size > most + HEADER:
        raise ValueError(f"{name} has {info.file_size:,} bytes, more than the {most:,} that it can need")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # LZMA takes the memory that a file states
        raise ValueError(f"{name} is compressed by a method that NumPy does not use")
    array: np.ndarray = np.lib.format.read_array(io.BytesIO(archive.read(info)), allow_pickle=False)
    return array
