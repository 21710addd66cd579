"""Compiled steps that are kept between processes."""

from __future__ import annotations

import keras

from cifar_zoo.files import home_folder


def keep_compiled_steps() -> None:
    """Let JAX keep what it compiles in `$CIFAR_ZOO_HOME/jax`, by default ~/.cache/cifar_zoo/jax.

    A later run of the same network then starts without compiling. A folder that is configured already, by
    JAX_COMPILATION_CACHE_DIR or in the program, stays. Nothing is done for the other backends: TensorFlow's steps are
    traced only, and PyTorch's are not compiled. JAX itself goes on where the folder cannot be written.
    """
    if keras.backend.backend() != "jax":
        return
    import jax

    if not jax.config.jax_compilation_cache_dir:
        jax.config.update("jax_compilation_cache_dir", str(home_folder() / "jax"))
