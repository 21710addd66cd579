"""Importing Keras and its backend for a command."""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from cifar_zoo.errors import CifarZooError, shown
from cifar_zoo.files import named_path, open_file
from cifar_zoo.lazy import uncollected


def check_exists(*paths: str | None) -> None:
    """Raise CifarZooError for a file or folder that does not exist, before an import that takes seconds."""
    for path in paths:
        if path is not None and not named_path(path).exists():
            raise CifarZooError(f"there is no file or folder {shown(path)}")


def load_network(name: str, weights: str, *paths: str | None) -> None:
    """Check that a network, its weights and the paths that will be read exist, and import what runs the network.

    For an .onnx file that is not Keras.
    """
    from cifar_zoo.evaluation.keras_file import is_keras_file
    from cifar_zoo.evaluation.onnx_model import is_onnx

    if is_onnx(name):
        check_exists(*paths)
    else:
        from cifar_zoo.registry import model_info
        from cifar_zoo.weights.remote import is_address
        from cifar_zoo.weights.store import check_pretrained

        if is_keras_file(name):
            open_file(name).close()  # raises if there is none
        elif not is_address(name):
            check_pretrained(model_info(name).name, weights)
        check_exists(*paths)
        load_backend()


def load_backend(training: bool = False, before: Callable[[], None] | None = None) -> None:
    """Import Keras and initialize its backend, discarding what TensorFlow's C++ code logs to standard error meanwhile.

    No log level silences these messages. With another backend, Keras imports TensorFlow, if it is installed, only when
    it sets random seeds.

    Args:
        training: Boolean. Whether the command trains. If so, the seeds are set once here, so that this import is silent
            as well.
        before: Function that is called after the import of Keras, and before its backend is initialized, or None.

    Raises:
        CifarZooError: If Keras or its backend cannot be imported.
    """
    with _silent_standard_error(), uncollected():
        try:
            import keras

            if before is not None:
                before()
            keras.ops.zeros(1)  # the first operation initializes the devices
            if training:
                keras.utils.set_random_seed(0)
        except (KeyboardInterrupt, CifarZooError):
            raise
        except BaseException as error:  # a backend that is not whole may raise anything, and even exit
            backend = os.environ.get("KERAS_BACKEND", "tensorflow")
            reason = "it exits" if isinstance(error, SystemExit) else str(error) or type(error).__name__
            if isinstance(error, ModuleNotFoundError) and error.name == backend:
                others = [name for name in ("tensorflow", "jax", "torch") if importlib.util.find_spec(name)]
                if others:
                    reason += f"; set KERAS_BACKEND to {' or '.join(others)}, which is installed"
            raise CifarZooError(
                f"Keras cannot be loaded with the backend {backend!r} (KERAS_BACKEND): {reason}"
            ) from error
        finally:
            gc.freeze()  # no later collection looks at what has been imported, either


@contextlib.contextmanager
def _silent_standard_error() -> Iterator[None]:
    """Discard what is written to the descriptor of standard error, which may be closed."""
    if sys.stderr is None:  # descriptor 2 is closed, or has become that of another file
        yield
        return
    sys.stderr.flush()
    terminal = os.dup(2)
    try:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
            yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)
