"""Memory that a training uses again and again."""

from __future__ import annotations

import contextlib
import ctypes
import platform
from collections.abc import Iterator

import keras

TRIM_THRESHOLD, MMAP_MAX = -1, -4  # the names and, below, the standard values of glibc's mallopt(3)


@contextlib.contextmanager
def keeping_freed_memory() -> Iterator[None]:
    """Let PyTorch on a CPU reuse large blocks, where the C library is glibc.

    Otherwise each goes back to the system when it is freed, and comes again as pages that must be cleared first: a
    third of a step of airbench94. TensorFlow and JAX keep their blocks themselves, and so does PyTorch on a GPU.
    """
    if keras.backend.backend() != "torch" or platform.libc_ver()[0] != "glibc":
        yield
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(TRIM_THRESHOLD, -1)
    libc.mallopt(MMAP_MAX, 0)
    try:
        yield
    finally:
        libc.mallopt(TRIM_THRESHOLD, 128 * 1024)
        libc.mallopt(MMAP_MAX, 65536)
        libc.malloc_trim(0)
