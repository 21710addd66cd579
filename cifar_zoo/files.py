"""Files that are either whole or not there."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cifar_zoo.errors import CifarZooError


def home_folder() -> Path:
    """Where the package keeps what it can do without: `$CIFAR_ZOO_HOME`, by default ~/.cache/cifar_zoo."""
    return Path(os.environ.get("CIFAR_ZOO_HOME") or "~/.cache/cifar_zoo").expanduser()


def write_whole(path: Path, write: Callable[[Path], Any], before: Path | None = None) -> None:
    """Let `write` fill a temporary file beside `path`, then move it there: a reader sees all of it or the old one.

    Args:
        path: the file.
        write: is called with the temporary file's name.
        before: where the old file goes; None to replace it.

    Raises:
        OSError: with the name of the file, if it cannot be written. The old one is then as it was.
    """
    temporary = path.with_name(f".{path.name}.partial")  # one name, so that a killed process leaves no more than one
    try:
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        if before is not None and path.exists():
            path.replace(before)
        temporary.replace(path)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)  # HDF5 says much more than the reason
        raise OSError(error.errno, reason, str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)
    _flush_names(path.parent)


def _flush_names(folder: Path) -> None:
    """Bring what the files of a folder are called to the disk, where the system can do that."""
    with contextlib.suppress(OSError):
        names = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(names)
        finally:
            os.close(names)


def check_room(folder: Path, size: int) -> None:
    """Raise OSError if a folder has no room for a file of so many bytes, for libraries that would crash there."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            noise = os.urandom(2**20)  # zeros would take no room where a file system compresses
            for start in range(0, size, len(noise)):
                file.write(noise[: size - start])
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        reason = f"{os.strerror(error.errno or 0)}, and {size / 1e6:.1f} MB are needed"
        raise OSError(error.errno, reason, str(folder)) from error


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises CifarZooError if the file is something else."""
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise CifarZooError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(value, dict):
        raise CifarZooError(f"{path}: holds no JSON object")
    return value


def read_history(file: Path) -> list[dict[str, float]]:
    """The rows of a history.csv, one dict an epoch."""
    with file.open(newline="") as lines:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(lines)]
    return [{**row, "epoch": int(row["epoch"])} for row in rows]


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON."""
    write_whole(path, lambda file: file.write_text(json.dumps(value, indent=2) + "\n"))
