"""Files that are either complete or absent."""

from __future__ import annotations

import contextlib
import csv
import errno
import glob
import json
import os
import platform
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cifar_zoo.errors import CifarZooError

_ABANDONED = 3600.0  # seconds without a change after which nobody is writing a temporary file any more


def home_folder() -> Path:
    """The folder for downloads and caches: `$CIFAR_ZOO_HOME`, by default ~/.cache/cifar_zoo."""
    return Path(given) if (given := os.environ.get("CIFAR_ZOO_HOME")) else user_folder(".cache/cifar_zoo")


def user_folder(name: str) -> Path:
    """A folder in the user's home; a user without a home, as in some containers, has one among the temporary files."""
    try:
        return Path.home() / name
    except RuntimeError:  # neither HOME nor an entry in the password database
        return Path(tempfile.gettempdir()) / f"cifar_zoo-{os.getuid()}" / name


def write_atomically(path: Path, write: Callable[[Path], Any], before: Path | None = None) -> None:
    """Write a temporary file in the folder of `path` and rename it, so that a reader sees the old file or the new one.

    Each writer has a temporary file of its own, so any number of threads and processes may write the same file; the
    last one wins. What a killed process left behind is removed by the next writer.

    Args:
        path: the file to write.
        write: function that is called with the path of the temporary file, which exists and is empty.
        before: where the old file is moved to; None to replace it.

    Raises:
        OSError: if the file cannot be written; it names `path`. The old file is unchanged then.
    """
    _remove_abandoned(path)
    temporary = path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}.{secrets.token_hex(8)}.tmp")
    try:
        temporary.open("xb").close()  # exclusively, which follows no link; with the permissions of any new file
        try:
            write(temporary)
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            if before is not None:
                with contextlib.suppress(FileNotFoundError):
                    path.replace(before)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)  # libraries add details to the reason
        raise OSError(error.errno, reason, str(path)) from error
    _flush_names(path.parent)


def _remove_abandoned(path: Path) -> None:
    """Remove the temporary files of `path` whose writers were killed."""
    for temporary in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        with contextlib.suppress(OSError, ValueError):  # its writer has finished just now, or the file is not ours
            node, process, _ = temporary.name.removeprefix(f".{path.name}.").removesuffix(".tmp").rsplit(".", 2)
            unchanged = time.time() - temporary.lstat().st_mtime
            if unchanged > _ABANDONED or (node == platform.node() and not _is_running(int(process))):
                temporary.unlink()


def _is_running(process: int) -> bool:
    """Whether a process of this machine is running, or may be."""
    if os.name != "posix":  # elsewhere, signal 0 is not a mere question
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it belongs to somebody else
        return True
    return True


def _flush_names(folder: Path) -> None:
    """Write the names of the files in a folder to the disk, on systems that can do so."""
    with contextlib.suppress(OSError):
        names = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(names)
        finally:
            os.close(names)


def check_room(folder: Path, size: int) -> None:
    """Raise OSError if the file system of a folder has less than `size` bytes left.

    This finds a full disk before the work is done. It knows nothing of quotas and of what others write meanwhile, so
    the writing itself may still fail.
    """
    try:
        if shutil.disk_usage(folder).free < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
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
    write_atomically(path, lambda file: file.write_text(json.dumps(value, indent=2) + "\n"))
