"""Loading Keras for a command."""

from __future__ import annotations

import os
import sys
import tempfile


def load_backend() -> None:
    """Import Keras and wake its backend without the greetings that TensorFlow's C++ code writes to standard error.

    No log level silences them. If the import fails, what was written is shown after all.
    """
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            import keras

            keras.ops.zeros(1)  # the devices are looked for at the first operation
        except BaseException:
            said.seek(0)
            os.write(terminal, said.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
