"""ONNX, which ONNX Runtime and many other runtimes read."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cifar_zoo.errors import CifarZooError
from cifar_zoo.exporting.format import Format, Metadata, Outputs

OPSET = 17
MOST_WEIGHTS = 2**31 - 2**26  # bytes: an ONNX file is a protocol buffer, which has at most 2 GB


def write(model: Any, path: Path, metadata: Metadata) -> None:
    """Write a model that takes "pixels" and gives named outputs."""
    import keras
    import onnx

    if (size := 4 * model.count_params()) > MOST_WEIGHTS:
        raise CifarZooError(f"its weights have {size / 1e9:.1f} GB, and an ONNX file has at most 2 GB")
    written = _from_torch(model, path) if keras.backend.backend() == "torch" else _from_tensorflow(model)
    _rename(written, model.output)
    for tensor in (*written.graph.input, *written.graph.output):
        tensor.type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.helper.set_model_props(written, metadata)
    onnx.checker.check_model(written)
    onnx.save(written, path)


def _from_tensorflow(model: Any) -> Any:
    """Convert a model by tf2onnx."""
    import onnx
    import tensorflow as tf
    import tf2onnx

    from cifar_zoo.exporting.saved_model import specification

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    function = tf.function(lambda pixels: model(pixels, training=False))
    pixels = specification(model)
    written, _ = tf2onnx.convert.from_function(
        function, [pixels], opset=OPSET, custom_op_handlers={"Erfc": (_erfc, [])}
    )
    # Constants that were made outside of the function, as Keras' Normalization does, have become inputs.
    constants = {
        inner.name: outer.numpy()
        for outer, inner in function.get_concrete_function(pixels).graph.captures
        if outer.dtype != tf.resource
    }
    for tensor in [tensor for tensor in written.graph.input if tensor.name in constants]:
        written.graph.initializer.append(onnx.numpy_helper.from_array(constants[tensor.name], tensor.name))
        written.graph.input.remove(tensor)
    return written


def _erfc(context: Any, node: Any, name: str, arguments: Any) -> Any:
    """Convert Erfc, which TensorFlow uses for GELU and ONNX does not have: erfc(x) = 1 - erf(x)."""
    dtype, shape = context.get_dtype(node.output[0]), context.get_shape(node.output[0])
    erf = context.make_node("Erf", node.input, dtypes=[dtype], shapes=[shape])
    one = context.make_const(f"{name}/one", np.float32(1))
    context.remove_node(node.name)
    return context.make_node(
        "Sub", [one.output[0], erf.output[0]], name=name, outputs=node.output, dtypes=[dtype], shapes=[shape]
    )


def _from_torch(model: Any, path: Path) -> Any:
    """Convert a model by PyTorch's exporter."""
    import keras
    import onnx
    import torch

    (pixels,) = model.inputs
    signature = [keras.InputSpec(shape=pixels.shape, dtype=pixels.dtype, name="pixels")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # of shapes, which are the same for all images
        model.export(str(path), format="onnx", input_signature=signature, opset_version=OPSET, verbose=False)
    return onnx.load(path)


def _rename(written: Any, outputs: dict[str, Any]) -> None:
    """Give the outputs of a graph, which are in the order of the names, these names."""
    names = dict(zip((output.name for output in written.graph.output), sorted(outputs), strict=True))
    for output in written.graph.output:
        output.name = names[output.name]
    for node in written.graph.node:
        for values in (node.input, node.output):
            values[:] = [names.get(value, value) for value in values]


def load(path: Path) -> Callable[[np.ndarray], Outputs]:
    """Return a function from pixels to a dict of named outputs."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors; it warns of each constant that it folds
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(pixels: np.ndarray) -> Outputs:
        return dict(zip(names, session.run(names, {"pixels": pixels}), strict=True))

    return run


ONNX = Format(
    "ONNX",
    ".onnx",
    {"tensorflow": {"tf2onnx": "onnx"}, "torch": {}},
    {"onnx": "onnx", "onnxruntime": "onnx"},
    write,
    load,
)
