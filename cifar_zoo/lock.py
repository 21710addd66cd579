"""Locks between processes, which are released when their process ends."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cifar_zoo.errors import CifarZooError
from cifar_zoo.files import make_folder

_LOCKED_BYTE = 2**30  # beyond the text, as a locked byte cannot be read on Windows


@contextmanager
def locked(path: Path, user: str, advice: str, wait: float = 0.0) -> Iterator[None]:
    """Hold a lock within this context. The folder of the lock file is created if it does not exist.

    The operating system holds the lock and releases it when the process ends in any way. The file only contains the
    process id, for the error message.

    Args:
        path: Path of the lock file.
        user: String. What holds the lock elsewhere, for the error message: "another training".
        advice: String. What to do then.
        wait: Float. Seconds to wait for the lock.

    Raises:
        CifarZooError: If another process holds the lock, or the folder cannot be created.
    """
    make_folder(path.parent)
    deadline = time.monotonic() + wait
    while (descriptor := _acquire(path)) is None:
        if time.monotonic() >= deadline:
            raise CifarZooError(f"{path.parent} is in use by {user}, process id {_holder(path)}; {advice}")
        time.sleep(0.05)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows cannot remove an open file
            path.unlink()
        os.close(descriptor)
        with contextlib.suppress(OSError):
            if os.name == "nt":
                path.unlink()


def _acquire(path: Path) -> int | None:
    """Open and lock a file, and return its descriptor, or None if another process holds the lock."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise CifarZooError(f"{path} is not a regular file; remove it")
            free = _try_lock(descriptor)
            if free and _is_still_there(descriptor, path):
                os.ftruncate(descriptor, 0)
                os.write(descriptor, f"{os.getpid()}\n".encode())
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        if not free:
            return None
        # Otherwise it was removed by its holder after it was opened here and before it was locked.


def _holder(path: Path) -> str:
    """Return the process id in a lock file."""
    try:
        with path.open("rb") as file:
            return file.read(32).decode(errors="replace").strip() or "unknown"
    except OSError:
        return "unknown"


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
