"""A lock on a run directory that ends with the process that holds it."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cifar_zoo.errors import CifarZooError

_LOCKED_BYTE = 2**30  # behind the text: on Windows a locked byte cannot be read


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Keep every other training out of a run directory, which is made where there is none.

    The operating system holds the lock, so that it is gone with its process, however that ends. The file `run.lock`
    only carries the process id for the message.

    Raises:
        CifarZooError: if another training holds the lock.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "run.lock"
    descriptor = _acquire(path)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows does not remove a file that is open
            path.unlink()
        os.close(descriptor)
        with contextlib.suppress(OSError):
            if os.name == "nt":
                path.unlink()


def _acquire(path: Path) -> int:
    """A file descriptor that holds the lock."""
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
        os.close(descriptor)  # its holder removed it between the opening and the locking


def _try_lock(descriptor: int) -> bool:
    """Lock an open file; False if another holds the lock. Where a file system has no locks, none is needed."""
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
    """Whether the file at a path is the open one."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
