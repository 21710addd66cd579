"""Importing Keras and its backend for a command."""

from __future__ import annotations

import os
import sys
import tempfile

from cifar_zoo.errors import CifarZooError


def load_backend(training: bool = False) -> None:
    """Import Keras and initialize its backend, discarding what TensorFlow's C++ code logs to standard error meanwhile.

    No log level silences these messages. With another backend, Keras imports TensorFlow, if it is installed, only when
    it sets random seeds.

    Args:
        training: Boolean. Whether the command trains. If so, the seeds are set once here, so that this import is silent
            as well.

    Raises:
        CifarZooError: If Keras or its backend cannot be imported.
    """
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as log:
        os.dup2(log.fileno(), 2)
        try:
            import keras

            keras.ops.zeros(1)  # the first operation initializes the devices
            if training:
                keras.utils.set_random_seed(0)
        except (ImportError, ValueError, RuntimeError) as error:
            backend = os.environ.get("KERAS_BACKEND", "tensorflow")
            raise CifarZooError(
                f"Keras cannot be loaded with the backend {backend!r} (KERAS_BACKEND): {error}"
            ) from error
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
