"""Loading Keras for a command."""

from __future__ import annotations

import os
import sys
import tempfile

from cifar_zoo.errors import CifarZooError


def load_backend(training: bool = False) -> None:
    """Import Keras and wake its backend without the greetings that TensorFlow's C++ code writes to standard error.

    No log level silences them. With another backend, Keras wakes TensorFlow, where it is installed, only when it sets
    the seeds of a training.

    Raises:
        CifarZooError: if Keras or its backend cannot be imported.
    """
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            import keras

            keras.ops.zeros(1)  # the devices are looked for at the first operation
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
