"""LiteRT (once TensorFlow Lite), the format of phones and microcontrollers."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cifar_zoo.exporting import saved_model
from cifar_zoo.exporting.format import Format, Metadata, Outputs


def write(model: Any, path: Path, metadata: Metadata) -> None:
    """Write a model that takes "pixels" and gives named outputs."""
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        saved_model.write(model, Path(folder), metadata)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        path.write_bytes(_with_metadata(converter.convert(), metadata))


def _with_metadata(content: bytes, metadata: Metadata) -> bytes:
    """Return the content of a file with metadata under the name "cifar_zoo"."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = np.frombuffer(json.dumps(metadata).encode(), "uint8")
    entry.name, entry.buffer = "cifar_zoo", len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def load(path: Path) -> Callable[[np.ndarray], Outputs]:
    """Return a function from pixels to a dict of named outputs."""
    from ai_edge_litert.interpreter import Interpreter

    signature = Interpreter(str(path)).get_signature_runner(saved_model.SIGNATURE)

    def run(pixels: np.ndarray) -> Outputs:
        outputs: Outputs = signature(pixels=pixels)
        return outputs

    return run


LITERT = Format("LiteRT", ".tflite", {"tensorflow": {}}, {"ai_edge_litert": "litert"}, write, load)
