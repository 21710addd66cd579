"""Networks whose weights have shapes but no values."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import keras


def without_memory(build: Callable[[], keras.Model]) -> keras.Model:
    """Build a model whose weights have shapes but no values and take no memory.

    Args:
        build: Function that builds the model.

    Returns:
        A `keras.Model` that can be inspected but not called.
    """

    def build_stateless() -> keras.Model:
        with keras.StatelessScope(initialize_variables=False):  # defers the creation of variables
            return build()

    # Keras keeps a list of deferred variables for each thread, and creates them when the thread leaves another scope.
    # The list of a thread that ends is dropped.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(build_stateless).result()
