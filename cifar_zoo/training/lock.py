"""A lock on a run directory that is released when its process ends."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cifar_zoo.errors import CifarZooError

_LOCKED_BYTE = 2**30  # beyond the text, as a locked byte cannot be read on Windows


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Lock a run directory against other trainings within this context. The directory is created if it does not exist.

    The operating system holds the lock and releases it when the process ends in any way. The file `run.lock` only
    contains the process id, for the error message.

    Raises:
        CifarZooError: If another training holds the lock.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "run.lock"
    descriptor = _acquire(path)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows cannot remove an open file
            path.unlink()
        os.close(descriptor)
        with contextlib.suppress(OSError):
            if os.name == "nt":
                path.unlink()


def _acquire(path: Path) -> int:
    """Open and lock a file, and return its descriptor."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
        try:
            if not _try_lock(descriptor):
                process = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
                raise CifarZooError(
                    f"{path.parent} is in use by another training, process id {process}; wait for it, or choose "
                    "another run directory"
                )
            if _is_still_there(descriptor, path):
                os.ftruncate(descriptor, 0)
                os.write(descriptor, f"{os.getpid()}\n".encode())
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # removed by its holder after it was opened here and before it was locked


def _try_lock(descriptor: int) -> bool:
    """Lock an open file. Return False if another process holds the lock, True also if the file system has no locks."""
    try:
        import fcntl
    except ImportError:
        return _try_lock_on_windows(descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EWOULDBLOCK, errno.EACCES)
    return True


def _try_lock_on_windows(descriptor: int) -> bool:
    import msvcrt

    os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
    try:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    except OSError:
        return False
    finally:
        os.lseek(descriptor, 0, os.SEEK_SET)
    return True


def _is_still_there(descriptor: int, path: Path) -> bool:
    """Whether `path` still refers to the open file."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
