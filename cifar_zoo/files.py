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
import stat
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from cifar_zoo.errors import CifarZooError

_ABANDONED = 3600.0  # seconds without a change after which nobody is writing a temporary file any more
LARGEST_TEXT = 16 * 2**20  # bytes of a JSON file, history or card; real ones have at most a few hundred thousand


def home_folder() -> Path:
    """The folder for downloads and caches: `$CIFAR_ZOO_HOME`, by default ~/.cache/cifar_zoo."""
    return Path(given) if (given := os.environ.get("CIFAR_ZOO_HOME")) else user_folder(".cache/cifar_zoo")


def user_folder(name: str) -> Path:
    """A folder in the user's home; a user without a home, as in some containers, has one among the temporary files."""
    try:
        return Path.home() / name
    except RuntimeError:  # neither HOME nor an entry in the password database
        return Path(tempfile.gettempdir()) / f"cifar_zoo-{os.getuid()}" / name


def named_path(path: str | os.PathLike[str]) -> Path:
    """Return a path that somebody named, with `~` expanded.

    Raises:
        CifarZooError: If no file can have this path: the user after `~` is unknown, or the path is too long, holds a
            null character, or leads through something that is not a readable folder.
    """
    text = os.fspath(path)
    shown = text if len(text) <= 300 else f"{text[:100]}... ({len(text)} characters)"
    try:
        expanded = Path(path).expanduser()
        with contextlib.suppress(FileNotFoundError):
            expanded.stat()
    except (OSError, RuntimeError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise CifarZooError(f"{shown!r} is not a usable path ({reason})") from None
    return expanded


def open_file(path: str | os.PathLike[str], most: int | None = None) -> BinaryIO:
    """Open a file that somebody named, for reading in binary mode.

    Anything else that can be opened is refused before it is read: a pipe would wait for a writer, a device may never
    end, and opening some has effects.

    Args:
        path: Path of the file; `~` is expanded.
        most: Integer or None. The largest size in bytes.

    Raises:
        CifarZooError: If there is no such file, it cannot be opened, or it is no regular file, empty or larger.
    """
    named = named_path(path)
    try:
        # Without O_NONBLOCK, opening a pipe waits.
        descriptor = os.open(named, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        raise CifarZooError(f"there is no file {str(path)!r}") from None
    except OSError as error:  # on Windows, this is what a folder gives
        raise CifarZooError(f"{str(path)!r} cannot be opened ({error.strerror})") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
            raise CifarZooError(f"{str(path)!r} is {kind}, where a file was expected")
        if not status.st_size:  # as the files in /proc are, too, some of which wait when they are read
            raise CifarZooError(f"{str(path)!r} is empty")
        if most is not None and status.st_size > most:
            raise CifarZooError(_too_large(path, most))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_file(path: str | os.PathLike[str], most: int) -> bytes:
    """Read a file that somebody named, of at most `most` bytes. Raises CifarZooError as `open_file` does."""
    with open_file(path, most) as file:
        try:
            content = file.read(most + 1)  # more than was asked for, if the file grows meanwhile
        except OSError as error:
            raise CifarZooError(f"{str(path)!r} cannot be read ({error.strerror})") from None
    if len(content) > most:
        raise CifarZooError(_too_large(path, most))
    return content


def _too_large(path: str | os.PathLike[str], most: int) -> str:
    return f"{str(path)!r} is larger than {most / 1e6:.1f} MB, the most that such a file can need"


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
        value = json.loads(read_file(path, LARGEST_TEXT))
    except (ValueError, RecursionError) as error:
        raise CifarZooError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(value, dict):
        raise CifarZooError(f"{path}: holds no JSON object")
    return value


def read_history(file: Path) -> list[dict[str, float]]:
    """The rows of a history.csv, one dict an epoch."""
    lines = read_file(file, LARGEST_TEXT).decode().splitlines()
    rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(lines)]
    return [{**row, "epoch": int(row["epoch"])} for row in rows]


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON."""
    write_atomically(path, lambda file: file.write_text(json.dumps(value, indent=2) + "\n"))
