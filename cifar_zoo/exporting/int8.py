"""Static quantization of an ONNX file to 8-bit integers."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cifar_zoo.data.cifar10 import Dataset, load_cifar10
from cifar_zoo.data.images import center_crop
from cifar_zoo.errors import CifarZooError
from cifar_zoo.evaluation.evaluate import evaluate
from cifar_zoo.evaluation.onnx_model import OnnxModel

IMAGES = 1000  # of the training set, from which the ranges of the activations are found
MOST_LOSS = 0.005  # of the test accuracy


def quantize(path: Path, data: Dataset | str | Path | None, *, force: bool) -> dict[str, float]:
    """Replace an ONNX file of class scores by one that computes in 8-bit integers, all but the softmax.

    The ranges of the activations are those on the first training images; the kernels have one scale an output channel.

    Args:
        path: Path of the file.
        data: A dataset as `load_cifar10` returns it, or a source for `load_cifar10`.
        force: Boolean. Whether to do it although the accuracy falls by more than `MOST_LOSS`.

    Returns: a dict with `accuracy` and `int8_accuracy` on the test images.

    Raises:
        CifarZooError: If the accuracy falls by more and `force` is False.
    """
    import onnx
    import onnxruntime
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    (images, _), test = data if isinstance(data, tuple) else load_cifar10(data)
    before = OnnxModel(path)
    with contextlib.ExitStack() as stack:
        stack.callback(onnxruntime.set_default_logger_severity, 2)  # warnings, as by default
        onnxruntime.set_default_logger_severity(3)  # errors; it warns of each constant that it folds
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        prepared, quantized = Path(folder) / "prepared.onnx", Path(folder) / "int8.onnx"
        quant_pre_process(path, prepared, skip_symbolic_shape=True)
        quantization.quantize_static(
            prepared,
            quantized,
            _Images(center_crop(images[:IMAGES], *before.input_shape[1:3]).astype(before.dtype)),
            per_channel=True,
            # Without VNNI, x86 CPUs add pairs of products in 16 bits, which saturate unless the kernels have 7 bits.
            reduce_range=True,
            # ONNX Runtime has kernels on x86 for convolutions of unsigned activations only; with signed ones it
            # computes most of them in float32, between conversions that make it slower than without int8.
            activation_type=quantization.QuantType.QUInt8,
            nodes_to_exclude=[node.name for node in onnx.load(prepared).graph.node if node.op_type == "Softmax"],
        )
        figures = {
            "accuracy": evaluate(before, test)["accuracy"],
            "int8_accuracy": evaluate(OnnxModel(quantized), test)["accuracy"],
        }
        if figures["accuracy"] - figures["int8_accuracy"] > MOST_LOSS and not force:
            raise CifarZooError(
                f"in 8-bit integers the network is right on {figures['int8_accuracy']:.2%} of the test images instead "
                f"of {figures['accuracy']:.2%}, which is more than {100 * MOST_LOSS:.1f} points less; use float32, or "
                "force=True (--force)"
            )
        path.write_bytes(quantized.read_bytes())
    return figures


class _Images:
    """Feeds images to the calibration of ONNX Runtime, some at a time."""

    def __init__(self, images: np.ndarray) -> None:
        self._batches: Iterator[np.ndarray] = iter(np.split(images, range(100, len(images), 100)))

    def get_next(self) -> dict[str, Any] | None:
        batch = next(self._batches, None)
        return None if batch is None else {"pixels": batch}
