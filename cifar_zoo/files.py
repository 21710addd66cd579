"""Files that are either complete or absent."""

from __future__ import annotations

import contextlib
import csv
import errno
import glob
import hashlib
import io
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
from typing import Any

from cifar_zoo.errors import CifarZooError, shown

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
    try:
        expanded = Path(path).expanduser()
        with contextlib.suppress(FileNotFoundError):
            expanded.stat()
    except (OSError, RuntimeError, ValueError) as error:
        raise CifarZooError(f"{shown(os.fspath(path))} is not a usable path ({_reason(error)})") from None
    return expanded


def open_regular(path: Path) -> io.BufferedReader:
    """Open a regular file for reading. Anything else is refused: a pipe would block, and a device may have no end.

    Raises:
        OSError: if there is no such file, or it is not a regular one or cannot be opened; `strerror` says which.
    """
    try:
        if stat.S_ISREG(path.stat().st_mode):  # before opening it, which can do something to a device
            # Another process may put a pipe there now, and opening it must not block either.
            flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
            file = os.fdopen(os.open(path, flags), "rb")
            if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return file
            file.close()
    except ValueError as error:  # a null character in the path
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from error
    raise FileNotFoundError(errno.ENOENT, "It is not a regular file", str(path))


def open_file(path: str | os.PathLike[str], most: int | None = None) -> io.BufferedReader:
    """Open a file that somebody named, for reading in binary mode.

    Args:
        path: Path of the file; `~` is expanded.
        most: Integer or None. The largest size in bytes.

    Raises:
        CifarZooError: If there is no such file, it cannot be opened, or it is no regular file, empty or larger.
    """
    named = named_path(path)
    try:
        file = open_regular(named)
    except OSError as error:
        if not named.exists():
            raise CifarZooError(f"there is no file {str(path)!r}") from None
        if not named.is_file():
            kind = "a folder" if named.is_dir() else "not a regular file"
            raise CifarZooError(f"{str(path)!r} is {kind}, where a file was expected") from None
        raise CifarZooError(f"{str(path)!r} cannot be opened ({error.strerror})") from None
    size = os.fstat(file.fileno()).st_size
    if 0 < size <= (size if most is None else most):
        return file
    file.close()
    # The files in /proc are empty, too; some of them wait when they are read.
    raise CifarZooError(f"{str(path)!r} is empty" if not size else _too_large(path, most or 0))


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


def read_expected(path: Path, size: int, difference: Callable[[bytes], str]) -> tuple[bytes, str]:
    """Read a file whose size and hash are known.

    Args:
        path: Path of the file.
        size: Integer. Size that it must have, in bytes; no more is read.
        difference: Function that returns how some content of this size differs from the file, "" if it does not.

    Returns: A tuple of the content of the file and a description of the difference, which is empty if there is none.
        The returned bytes are exactly those that were compared.
    """
    try:
        with open_regular(path) as file:
            found = os.fstat(file.fileno()).st_size
            if found != size:
                return b"", f"has {found:,} bytes instead of {size:,}"
            content = file.read(size)
    except (FileNotFoundError, NotADirectoryError):
        return b"", "is not there"
    except OSError as error:
        return b"", f"cannot be read ({error.strerror})"
    return content, difference(content)


def _too_large(path: str | os.PathLike[str], most: int) -> str:
    return f"{str(path)!r} is larger than {most / 1e6:.1f} MB, the most that such a file can need"


def make_folder(folder: Path) -> None:
    """Create a folder and those above it, unless they exist. Raises CifarZooError if it cannot be created."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:  # ValueError for a name that no file can have
        raise CifarZooError(f"the folder {shown(str(folder))} cannot be created: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """Return the reason of an error, without the path that those of the system repeat."""
    return (isinstance(error, OSError) and error.strerror) or str(error)


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
    remove_abandoned(path)
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


def remove_abandoned(path: Path) -> None:
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


def replace_together(journal: Path, contents: dict[Path, bytes]) -> None:
    """Write several files so that, whenever the process is killed, all of them are the old ones or all the new ones.

    The new files are first written whole beside the old ones. Then the journal says that they are complete, and they
    are moved to their places. `finish_replacing` completes or undoes what a killed process has begun; it must be called
    before the files are read. The caller holds a lock against other writers.

    Args:
        journal: Path of the journal, a file that exists only meanwhile.
        contents: Dict from the paths of the files, whose folders are created, to their contents.

    Raises:
        CifarZooError: If a folder cannot be created.
        OSError: If a file cannot be written. All files are the old ones then.
    """
    finish_replacing(journal)
    folders = [folder for path in contents for folder in _missing(path.parent)]
    names = {
        "files": [_seen_from(journal.parent, path) for path in contents],
        "folders": [_seen_from(journal.parent, folder) for folder in dict.fromkeys(folders)],
    }
    write_json(journal, {"complete": False, **names})
    try:
        for path, content in contents.items():
            make_folder(path.parent)
            _write_new(path, content)
        write_json(journal, {"complete": True, **names})
    finally:
        finish_replacing(journal)


def finish_replacing(journal: Path) -> None:
    """Complete what `replace_together` has begun in a process that was killed, or undo it if it was not that far.

    Raises:
        CifarZooError: If the journal is damaged.
        OSError: If a file cannot be moved or removed.
    """
    if not journal.exists():
        return
    values = read_json(journal)
    try:
        complete = bool(values["complete"])
        files, folders = ([journal.parent / name for name in values[key]] for key in ("files", "folders"))
    except (KeyError, TypeError) as error:
        raise CifarZooError(f"{journal}: is not the journal of an interrupted `cifar-zoo pack`; remove it") from error
    for path in files:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            if complete:
                _new(path).replace(path)  # unless it was moved already
            else:
                _new(path).unlink()
    for folder in {path.parent for path in files} if complete else ():
        _flush_names(folder)
    for folder in () if complete else reversed(folders):
        with contextlib.suppress(OSError):  # it does not exist, or somebody else uses it
            folder.rmdir()
    journal.unlink(missing_ok=True)


def _seen_from(folder: Path, path: Path) -> str:
    """Return a path relative to a folder if it is inside of it, so that the folder can be moved, else as a whole."""
    folder, path = folder.absolute(), path.absolute()
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)


def _write_new(path: Path, content: bytes) -> None:
    """Write the content that is about to replace a file."""
    try:
        _new(path).unlink(missing_ok=True)
        with _new(path).open("xb") as file:  # exclusively, which follows no link
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def _new(path: Path) -> Path:
    """Return the path of the content that is about to replace a file."""
    return path.with_name(f".{path.name}.new")


def _missing(folder: Path) -> list[Path]:
    """Return those of a folder and of the folders above it that do not exist, from the top."""
    return [parent for parent in reversed((folder, *folder.parents)) if not parent.exists()]


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def git_hasher(size: int) -> hashlib._Hash:
    """Return a hasher for a file of this size that gives Git's hash of it, as `git hash-object` does."""
    return hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)


def git_hash(content: bytes) -> str:
    """Return Git's hash of the content of a file."""
    hasher = git_hasher(len(content))
    hasher.update(content)
    return hasher.hexdigest()


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
    """Read a history.csv, one dict an epoch. Raises CifarZooError if the file is something else."""
    content = read_file(file, LARGEST_TEXT)
    try:
        lines = content.decode().splitlines()
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(lines, strict=True)]
        return [{**row, "epoch": int(row["epoch"])} for row in rows]
    except KeyError as error:
        raise CifarZooError(f"{file}: has no column {error}") from error
    except (ValueError, TypeError, OverflowError, csv.Error) as error:  # TypeError for a row of another length
        raise CifarZooError(f"{file}: cannot be read as a table of numbers ({error})") from error


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON. Raises CifarZooError, and writes nothing, for a number that is not finite."""
    content = to_json(value, path)
    write_atomically(path, lambda file: file.write_bytes(content))


def to_json(value: Any, path: Path) -> bytes:
    """Return the content of a JSON file. Raises CifarZooError for a number that is not finite."""
    try:
        return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode()
    except ValueError as error:
        raise CifarZooError(f"{path}: cannot be written, as it would hold a number that is not finite") from error
