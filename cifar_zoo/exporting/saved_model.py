"""The SavedModel of TensorFlow: a folder with one signature, for TensorFlow Serving and TensorFlow itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cifar_zoo.exporting.format import Format, Metadata, Outputs

SIGNATURE = "serving_default"
_METADATA = "assets.extra/cifar_zoo.json"  # the place for files that TensorFlow leaves alone


def write(model: Any, path: Path, metadata: Metadata) -> None:
    """Write a model that takes "pixels" and gives named outputs."""
    import keras
    import tensorflow as tf

    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serve", lambda pixels: model(pixels, training=False), input_signature=[specification(model)])
    # The gradients of our layers are of no use to an exported network.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    archive.write_out(str(path), options=options, verbose=False)
    (path / _METADATA).parent.mkdir(exist_ok=True)
    (path / _METADATA).write_text(json.dumps(metadata, indent=2) + "\n")


def specification(model: Any) -> Any:
    """Return the `tf.TensorSpec` of the input of a model."""
    import tensorflow as tf

    (pixels,) = model.inputs
    return tf.TensorSpec(pixels.shape, pixels.dtype, name="pixels")


def load(path: Path) -> Callable[[np.ndarray], Outputs]:
    """Return a function from pixels to a dict of named outputs."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))  # owns the variables, so `run` must keep it

    def run(pixels: np.ndarray) -> Outputs:
        outputs = loaded.signatures[SIGNATURE](pixels=tf.constant(pixels))
        return {name: value.numpy() for name, value in outputs.items()}

    return run


SAVED_MODEL = Format("SavedModel", "", {"tensorflow": {}}, {}, write, load)
