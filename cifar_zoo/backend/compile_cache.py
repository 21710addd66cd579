"""Persistent cache of compiled training steps."""

from __future__ import annotations

import keras

from cifar_zoo.files import home_folder


def keep_compiled_steps() -> None:
    """Enables JAX's persistent compilation cache in `$CIFAR_ZOO_HOME/jax`, by default ~/.cache/cifar_zoo/jax.

    A later run of the same network then starts without compiling. A cache folder that is already configured, by
    JAX_COMPILATION_CACHE_DIR or in the program, is kept. If the folder is not writable, JAX runs without a cache. Other
    backends are left alone: TensorFlow only traces the step, and PyTorch does not compile it.
    """
    if keras.backend.backend() != "jax":
        return
    import jax

    if not jax.config.jax_compilation_cache_dir:
        jax.config.update("jax_compilation_cache_dir", str(home_folder() / "jax"))
