"""Persistent cache of compiled training steps."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras

from cifar_zoo.files import home_folder


@contextlib.contextmanager
def keeping_compiled_steps() -> Iterator[None]:
    """Enables JAX's persistent compilation cache in `$CIFAR_ZOO_HOME/jax`, by default ~/.cache/cifar_zoo/jax.

    A later run of the same network then starts without compiling. A cache folder that is already configured, by
    JAX_COMPILATION_CACHE_DIR or in the program, is kept. If the folder is not writable, JAX runs without a cache. Other
    backends are left alone: TensorFlow only traces the step, and PyTorch does not compile it.
    """
    if keras.backend.backend() != "jax":
        yield
        return
    import jax
    from jax.experimental.compilation_cache import compilation_cache

    if jax.config.jax_compilation_cache_dir:
        yield
        return
    compilation_cache.reset_cache()  # JAX opens a cache once, at the first compilation
    jax.config.update("jax_compilation_cache_dir", str(home_folder() / "jax"))
    try:
        yield
    finally:
        jax.config.update("jax_compilation_cache_dir", None)
        compilation_cache.reset_cache()
