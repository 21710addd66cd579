"""An exported network in an ONNX file, run by ONNX Runtime without Keras and its backend."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from cifar_zoo.errors import CifarZooError
from cifar_zoo.files import read_file

SUFFIX = ".onnx"
LARGEST = 2**31  # bytes of an ONNX file, which is a protocol buffer
_DTYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}


def is_onnx(model: Any) -> TypeGuard[str | Path]:
    """Whether a model is given as the path of an ONNX file."""
    return isinstance(model, (str, Path)) and str(model).endswith(SUFFIX)


class OnnxModel:
    """A network from pixels 0..255 to class scores that `cifar_zoo.export` has written, or a similar one.

    It can be given to `evaluate` and `predict` in place of a Keras model.

    Args:
        path: Path of the file.

    Attributes:
        name: String. The registered name of the network, or else the name of the file.
        input_shape: (None, height, width, channels).
        output_shape: (None, classes).
        dtype: String. The dtype of the pixels, "uint8" or "float32".
        gives_logits: Boolean. Whether the scores are logits, not probabilities.
        class_names: List of strings, or None if the file does not have them.

    Raises:
        CifarZooError: If there is no such file, ONNX Runtime is not installed or cannot run it, or the network is not
            one from images to class scores.
    """

    def __init__(self, path: str | Path) -> None:
        if importlib.util.find_spec("onnxruntime") is None:
            raise CifarZooError("an .onnx file needs the package onnxruntime: pip install 'cifar-zoo[onnx]'")
        content = read_file(path, LARGEST)
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what is wrong with a file is said by the error
        try:
            self._session = onnxruntime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"], enable_fallback=False
            )
            metadata = self._session.get_modelmeta().custom_metadata_map
        except Exception as error:  # ONNX Runtime has a class for each reason, none of them public
            raise CifarZooError(f"{str(path)!r} is no ONNX file that ONNX Runtime can run: {error!s:.300}") from error
        taken, given = self._session.get_inputs(), self._session.get_outputs()
        if len(taken) != 1 or len(given) != 1 or taken[0].type not in _DTYPES or given[0].type != "tensor(float)":
            raise CifarZooError(f"{str(path)!r} is not a network from images to class scores: {_ends(taken, given)}")
        self._input, self._output = taken[0].name, given[0].name
        self.dtype = _DTYPES[taken[0].type]
        self.input_shape, self.output_shape = (
            tuple(side if isinstance(side, int) else None for side in end.shape) for end in (taken[0], given[0])
        )
        if len(self.input_shape) != 4 or None in self.input_shape[3:] or len(self.output_shape) != 2:
            raise CifarZooError(f"{str(path)!r} is not a network from images to class scores: {_ends(taken, given)}")
        self.name = metadata.get("network", Path(path).stem)
        self.gives_logits = self._output != "probabilities"
        self.class_names = _class_names(metadata.get("class_names", ""), self.output_shape[1])

    def predict(self, images: np.ndarray, batch_size: int = 32, verbose: int = 0) -> np.ndarray:
        """The class scores (n, classes) of images (n, height, width, channels), as `keras.Model.predict` gives them."""
        if self.dtype == "uint8" and images.dtype != np.uint8:
            images = np.clip(np.rint(images), 0, 255)
        try:
            return np.concatenate(
                [
                    self._session.run([self._output], {self._input: images[i : i + batch_size].astype(self.dtype)})[0]
                    for i in range(0, len(images), batch_size)
                ]
            )
        except Exception as error:
            raise CifarZooError(
                f"ONNX Runtime cannot run {self.name} on images {images.shape}: {error!s:.300}"
            ) from error


def _ends(taken: Any, given: Any) -> str:
    """Describe the inputs and outputs of a network."""
    inputs, outputs = (
        ", ".join(f"{end.name} {end.type} {end.shape}" for end in ends[:5]) or "nothing" for ends in (taken, given)
    )
    return f"it takes {inputs} and gives {outputs}"


def _class_names(text: str, classes: int | None) -> list[str] | None:
    """Return the names of the classes from the metadata, or None if they are not there or something else."""
    try:
        names = json.loads(text)
    except (ValueError, RecursionError):
        return None
    known = isinstance(names, list) and len(names) == classes and all(isinstance(name, str) for name in names)
    return names if known else None
